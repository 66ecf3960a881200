"""A picture that is sent is the picture that is answered for, whatever uuid comes with it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serving import chat_body, data_url, png

CHAT = "/v1/chat/completions"
RATIOS = (1, 0.222)


def asked(client: httpx.Client, url: str | None, uuid: str | None, ratio: float) -> httpx.Response:
    body: Any = chat_body("", keep_ratio=ratio, logprobs=True, top_logprobs=5)
    part = {"type": "image_url", "image_url": None if url is None else {"url": url}}
    body["messages"][0]["content"][0] = part if uuid is None else {**part, "uuid": uuid}
    return client.post(CHAT, json=body)


def said(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    tokens = response.json()["choices"][0]["logprobs"]["content"]
    return [(token["token"], round(token["logprob"], 3)) for token in tokens]


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_uuid_used_again_for_another_picture_is_answered_for_that_picture(client, ratio):
    first, second = (data_url(png(336, 336, seed=9200 + number)) for number in range(2))
    expected = [said(asked(client, url, None, ratio)) for url in (first, second)]
    assert expected[0] != expected[1]
    for _ in range(2):
        assert [said(asked(client, url, f"again-{ratio}", ratio)) for url in (first, second)] == expected
    assert said(asked(client, None, f"again-{ratio}", ratio)) == expected[1]


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_uuid_under_which_nothing_was_sent_is_a_400(client, ratio):
    response = asked(client, None, f"never-{ratio}", ratio)
    assert response.status_code == 400, response.text
    assert "uuid" in response.json()["error"]["message"]
