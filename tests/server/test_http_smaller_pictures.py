"""Pictures that a request wants smaller, by `max_pixels` or by `detail`, over every endpoint that takes them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from anthropic_bodies import count_body, messages_body
from sppruner_server import headers

from bad_bodies import BATCH, CHAT, COUNT, INVOCATIONS, MESSAGES, RESPONSES, TOKENIZE
from serving import MODEL_NAME, chat_body, data_url, eventually, metric, png, responses_body

SQUARE, LARGE = data_url(png(280, 280)), data_url(png(784, 784))
"""Of 100 and 784 visual tokens, each of 28 x 28 pixels."""
HALF = 50 * 28**2
LOW = 18 * 18
"""Visual tokens of a square within 512 x 512 pixels."""

BODIES = {CHAT: chat_body, RESPONSES: responses_body, MESSAGES: messages_body, COUNT: count_body}


def served(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Headers:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.headers


def counts(sent: httpx.Headers) -> tuple[int, int, str | None]:
    """Visual tokens before and after the reduction, and how many pictures were made smaller."""
    return int(sent[headers.ORIGINAL]), int(sent[headers.RETAINED]), sent.get(headers.SHRUNK_IMAGES)


def refused(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[str, str]:
    response = client.post(path, json=body)
    assert response.status_code == 400, response.text
    return response.json()["error"]["code"], response.json()["error"]["param"]


def asking(path: str, url: str, others: tuple[str, ...] = (), **own: object) -> dict[str, Any]:
    """A body whose first picture asks something for itself."""
    body = BODIES[path](url, *others)
    part = body["input" if path == RESPONSES else "messages"][0]["content"][0]
    (part["image_url"] if path == CHAT else part).update(own)
    return body


@pytest.mark.parametrize("path", BODIES)
def test_a_picture_beyond_the_requests_limit_is_made_smaller(client, path):
    assert counts(served(client, path, BODIES[path](SQUARE, max_pixels=HALF))) == (49, 49, "1")
    assert counts(served(client, path, BODIES[path](SQUARE, max_pixels=100 * 28**2))) == (100, 100, None)


@pytest.mark.parametrize("path", BODIES)
def test_a_picture_has_a_limit_of_its_own(client, path):
    sent = served(client, path, asking(path, SQUARE, (SQUARE,), max_pixels=HALF))
    assert counts(sent) == (149, 149, "1")
    assert sent[headers.IMAGES_RETAINED] == "49,100"


@pytest.mark.parametrize(
    ("path", "detail", "tokens"),
    [*((path, "low", LOW) for path in BODIES), (CHAT, "high", 784), (RESPONSES, "auto", 784), (MESSAGES, "auto", 784)],
)
def test_detail_is_a_limit_that_the_operator_sets(client, path, detail, tokens):
    sent = served(client, path, asking(path, LARGE, detail=detail))
    assert counts(sent) == (tokens, tokens, "1" if tokens == LOW else None)


def test_the_usage_says_which_pictures_were_made_smaller(client):
    body = chat_body(SQUARE, SQUARE, max_pixels=[None, HALF], keep_ratio=0.5)
    usage = client.post(CHAT, json=body).json()["usage"]
    account = usage["prompt_tokens_details"]["visual_tokens"]
    assert (account["original"], account["retained"], account["shrunk_images"]) == (149, 75, 1)
    assert [(image["original"], image["retained"], image["shrunk"]) for image in account["images"]] == [
        (100, 50, False),
        (49, 25, True),
    ]
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": 75}


@pytest.mark.parametrize(
    ("own", "fields"),
    [
        ({"detail": "low", "max_pixels": HALF}, {}),
        ({"detail": "low"}, {"max_pixels": HALF}),
        ({"max_pixels": HALF}, {"max_pixels": 2 * HALF}),
        ({"max_pixels": 2 * HALF}, {"max_pixels": HALF}),
        ({"detail": "low"}, {"max_pixels": [HALF]}),
        ({"detail": "low"}, {"mm_processor_kwargs": {"max_pixels": HALF}}),
    ],
)
def test_of_several_limits_the_smallest_holds(client, own, fields):
    assert counts(served(client, CHAT, asking(CHAT, LARGE, **own) | fields))[1] == 49


def test_the_pictures_of_a_batch_are_one_list(client):
    conversations = [chat_body(*urls)["messages"] for urls in [(SQUARE,), (SQUARE, SQUARE)]]
    body = {"model": MODEL_NAME, "messages": conversations, "max_tokens": 2, "max_pixels": [None, HALF, None]}
    assert served(client, BATCH, body)[headers.IMAGES_RETAINED] == "100,49,100"


@pytest.mark.parametrize("path", [TOKENIZE, INVOCATIONS])
def test_vllms_own_routes_make_pictures_smaller_too(client, path):
    def tokens(body: dict[str, Any]) -> int:
        answer = client.post(path, json=body).json()
        return answer["count"] if path == TOKENIZE else answer["usage"]["prompt_tokens"]

    def plain(body: dict[str, Any]) -> dict[str, Any]:
        return {"model": MODEL_NAME, "messages": body["messages"], **({} if path == TOKENIZE else {"max_tokens": 2})}

    assert tokens(plain(asking(CHAT, LARGE, detail="low"))) == tokens(plain(chat_body(LARGE))) - 784 + LOW


def test_each_size_of_a_picture_is_another_one_to_the_caches(client):
    def cached(text: str, **fields: object) -> int:
        body = chat_body(LARGE, text=text, **fields)
        return client.post(CHAT, json=body).json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert cached("of what size is this", max_pixels=2 * HALF) < 64
    assert cached("and what else is here", max_pixels=2 * HALF) >= 64
    assert cached("is it as large as before", max_pixels=3 * HALF) < 64


def test_a_uuid_alone_means_the_picture_at_the_size_it_was_sent_at(client):
    part = {"type": "image_url", "image_url": {"url": LARGE}, "uuid": "a smaller picture"}
    alone = {"type": "image_url", "image_url": None, "uuid": "a smaller picture"}
    text = {"type": "text", "text": "what is this"}

    def body(*parts: dict[str, Any], **fields: object) -> dict[str, Any]:
        return {**chat_body(), "messages": [{"role": "user", "content": [*parts, text]}], **fields}

    assert counts(served(client, CHAT, body(part, max_pixels=HALF))) == (49, 49, "1")
    assert counts(served(client, CHAT, body(alone, max_pixels=HALF))) == (49, 49, "1")
    for fields in ({}, {"max_pixels": 2 * HALF}, {"max_pixels": HALF // 2}):
        assert refused(client, CHAT, body(alone, **fields))[1] == "messages[0].content[0].uuid"


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("value", [0, -1, 1.5, "", "9", True, False, {}, [0], ["9"]], ids=repr)
def test_a_bad_limit_is_a_400_that_names_it(client, path, value):
    assert refused(client, path, BODIES[path](SQUARE, max_pixels=value)) == ("invalid_max_pixels", "max_pixels")
    if not isinstance(value, list):
        body = asking(path, SQUARE, max_pixels=value, detail="low")
        assert refused(client, path, body) == ("invalid_max_pixels", "max_pixels")


def test_a_list_of_another_length_is_refused(client):
    assert refused(client, CHAT, chat_body(SQUARE, max_pixels=[9, 9])) == ("invalid_max_pixels", "max_pixels")


PART = "messages[0].content[0]"


@pytest.mark.parametrize(
    ("path", "own", "fields", "code", "param"),
    [
        (CHAT, {"max_pixels": HALF}, {"max_pixels": [HALF]}, "unsupported_parameter", f"{PART}.image_url.max_pixels"),
        (CHAT, {"detail": "lowest"}, {}, "invalid_value", f"{PART}.image_url.detail"),
        (MESSAGES, {"detail": "lowest"}, {}, "invalid_value", f"{PART}.detail"),
        (RESPONSES, {"detail": "lowest"}, {}, "invalid_value", "input[0].content[0].detail"),
        *(
            (RESPONSES, own, {"previous_response_id": "resp_0"}, "unsupported_parameter", f"input[0].content[0].{name}")
            for name, own in (("detail", {"detail": "low"}), ("max_pixels", {"max_pixels": HALF}))
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(client, path, own, fields, code, param):
    assert refused(client, path, asking(path, SQUARE, **own) | fields) == (code, param)


@pytest.mark.parametrize(("name", "code"), [("max_pixels", "unknown_parameter"), ("detail", "invalid_value")])
def test_a_limit_beside_the_picture_would_be_lost(client, name, code):
    body = chat_body(SQUARE)
    body["messages"][0]["content"][0][name] = "low" if name == "detail" else HALF
    assert refused(client, CHAT, body) == (code, f"messages[0].content[0].{name}")


def test_metrics_count_the_pictures_that_were_made_smaller(client):
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    before = metric(client, "sppruner_shrunk_images_total")
    served(client, CHAT, chat_body(SQUARE, LARGE, max_pixels=HALF))
    assert eventually(lambda: metric(client, "sppruner_shrunk_images_total") == before + 2)
