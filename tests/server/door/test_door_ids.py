"""Every request has an id."""

from __future__ import annotations

import re

import httpx
import pytest

from door.served import AS_JSON, CHAT, PICTURE
from serving import chat_body


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "4bf92f3577b34da6a3ce929d0e0e4736", "req_1.2:3/4+5="])
def test_a_sane_id_comes_back(alice: httpx.Client, given: str) -> None:
    assert alice.get("/v1/models", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "two words", 'a"b', "a\tb", "{}", "<script>", "\xe9", "-rf"])
def test_any_other_id_is_replaced(alice: httpx.Client, given: str) -> None:
    answer = alice.get("/v1/models", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def test_every_answer_has_one_id_of_its_own(guest: httpx.Client, alice: httpx.Client) -> None:
    answers = [
        guest.get("/health"),
        guest.get("/v1/models"),
        alice.get("/nowhere"),
        alice.delete("/v1/models"),
        alice.post(CHAT, content=b"{", headers=AS_JSON),
        alice.post(CHAT, json=chat_body(PICTURE, keep_ratio=7)),
        alice.post(CHAT, json=chat_body(text="hello")),
        alice.post(CHAT, json=chat_body(text="hello", stream=True)),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 405, 400, 400, 200, 200]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == len(ids)


def test_vllms_answer_bears_the_id_of_the_request(alice: httpx.Client) -> None:
    answer = alice.post(CHAT, json=chat_body(text="hello"), headers={"x-request-id": "mine-1"})
    assert answer.json()["id"] == "chatcmpl-mine-1"
    answer = alice.post(CHAT, json=chat_body(text="hello"))
    assert answer.json()["id"] == f"chatcmpl-{answer.headers['x-request-id']}"
