"""A budget for each picture of a request, and one for all of them, over every endpoint that takes pictures."""

from __future__ import annotations

import io
import random
from typing import Any

import httpx
import pytest
from anthropic_bodies import count_body, messages_body
from PIL import Image
from sppruner_server import headers

from bad_bodies import BATCH, CHAT, COUNT, INVOCATIONS, MESSAGES, RESPONSES, TOKENIZE
from bad_images import blank_png
from serving import MODEL_NAME, chat_body, data_url, eventually, metric, png, responses_body

SQUARE, TALL, SMALL = (data_url(png(width, height)) for width, height in ((280, 280), (140, 560), (112, 112)))
"""Of 100, 100 and 16 visual tokens."""


def rough() -> str:
    """A picture of 100 visual tokens that is full of edges."""
    buffer = io.BytesIO()
    Image.frombytes("L", (280, 280), random.Random(0).randbytes(280 * 280)).save(buffer, "PNG")
    return data_url(buffer.getvalue())


def told(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[list[int], list[float]]:
    """Status 200 expected; what the headers say of each picture: its tokens, and its ratio."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    retained, ratios = (
        response.headers[name].split(",") for name in (headers.IMAGES_RETAINED, headers.IMAGES_KEEP_RATIO)
    )
    return [int(count) for count in retained], [float(ratio) for ratio in ratios]


def refused(client: httpx.Client, path: str, body: dict[str, Any]) -> tuple[str, str, str]:
    response = client.post(path, json=body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    return error["code"], error["param"], error["message"]


def image(url: str, **fields: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def user(*parts: dict[str, Any], text: str = "what is this") -> dict[str, Any]:
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def chat(*messages: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"model": MODEL_NAME, "messages": list(messages), "max_tokens": 2, "temperature": 0, **fields}


BODIES = {CHAT: chat_body, RESPONSES: responses_body, MESSAGES: messages_body, COUNT: count_body}


@pytest.mark.parametrize("path", BODIES)
def test_each_picture_has_its_own_ratio_in_order(client, path):
    body = BODIES[path](SQUARE, TALL, SMALL, keep_ratio=[0.5, 0.1, 1])
    assert told(client, path, body) == ([50, 10, 16], [0.5, 0.1, 1.0])


def test_the_usage_says_it_of_each_picture_and_of_all(client):
    usage = client.post(CHAT, json=chat_body(SQUARE, SMALL, keep_ratio=[0.25, 1])).json()["usage"]
    account = usage["prompt_tokens_details"]["visual_tokens"]
    assert (account["original"], account["retained"], account["keep_ratio"]) == (116, 41, round(41 / 116, 6))
    assert account["images"] == [
        {"original": 100, "retained": 25, "keep_ratio": 0.25, "skipped_reason": None, "shrunk": False},
        {"original": 16, "retained": 16, "keep_ratio": 1.0, "skipped_reason": "keep_ratio_is_1", "shrunk": False},
    ]
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": 41}


def test_a_list_counts_the_pictures_of_all_turns(client):
    turns = user(image(SQUARE)), {"role": "assistant", "content": "a cat"}, user(image(TALL), image(SMALL))
    assert told(client, CHAT, chat(*turns, keep_ratio=[0.5, 0.1, None])) == ([50, 10, 16], [0.5, 0.1, 1.0])


def test_the_pictures_of_a_batch_are_one_list(client):
    conversations = [[user(image(SQUARE))], [user(text="hello")], [user(image(TALL), image(SMALL))]]
    body = {"model": MODEL_NAME, "messages": conversations, "max_tokens": 2, "keep_ratio": [0.5, 0.1, 0.25]}
    assert told(client, BATCH, body) == ([50, 10, 4], [0.5, 0.1, 0.25])


def test_what_a_tool_gave_stands_before_the_rest_of_its_message(client):
    given, own = messages_body(SQUARE, TALL)["messages"][0]["content"][:2]
    result = {"type": "tool_result", "tool_use_id": "x", "content": [{**given, "keep_ratio": 0.5}]}
    call = {"type": "tool_use", "id": "x", "name": "look", "input": {}}
    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{**own, "keep_ratio": 0.1}, result]},
    ]
    body = messages_body(messages=messages)
    assert told(client, MESSAGES, body) == ([50, 10], [0.5, 0.1])
    assert told(client, MESSAGES, messages_body(messages=messages, keep_ratio=0.9)) == ([50, 10], [0.5, 0.1])


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_picture_asks_for_itself_and_the_others_have_what_is_asked_for_all(client, path):
    body = BODIES[path](SQUARE, TALL, keep_ratio=0.3)
    name = "input" if path == RESPONSES else "messages"
    part = body[name][0]["content"][1]
    (part["image_url"] if path == CHAT else part)["keep_ratio"] = 0.1
    assert told(client, path, body) == ([30, 10], [0.3, 0.1])


@pytest.mark.parametrize("path", [TOKENIZE, INVOCATIONS])
def test_a_picture_asks_for_itself_on_vllms_own_routes(client, path):
    def tokens(*parts: dict[str, Any], **fields: object) -> int:
        body = {"model": MODEL_NAME, "messages": [user(*parts)], **fields}
        if path == INVOCATIONS:
            body["max_tokens"] = 2
        answer = client.post(path, json=body).json()
        return answer["count"] if path == TOKENIZE else answer["usage"]["prompt_tokens"]

    whole = tokens(image(SQUARE), image(TALL))
    assert tokens(image(SQUARE, keep_ratio=0.5), image(TALL, keep_ratio=0.1)) == whole - 140
    assert tokens(image(SQUARE), image(TALL), keep_ratio=[0.5, 0.1]) == whole - 140


def test_a_part_and_a_list_are_one_request_to_the_caches(client):
    text = "how many of these are there in all, and of which kind is the one that stands on the left"
    listed = chat_body(SQUARE, TALL, text=text, keep_ratio=[0.61, 0.43])
    first = client.post(CHAT, json=listed).json()["usage"]
    again = client.post(CHAT, json=chat(user(image(SQUARE, keep_ratio=0.61), image(TALL, keep_ratio=0.43), text=text)))
    cached = again.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert first["prompt_tokens_details"]["cached_tokens"] < 61 < 61 + 43 <= cached


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, COUNT, TOKENIZE])
@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_another_length_is_refused_with_both(client, path, count):
    body = BODIES.get(path, chat_body)(SQUARE, TALL, keep_ratio=[0.5] * count)
    if path == TOKENIZE:
        body = {"model": MODEL_NAME, "messages": body["messages"], "keep_ratio": [0.5] * count}
    code, param, message = refused(client, path, body)
    assert (code, param) == ("invalid_keep_ratio", "keep_ratio")
    assert f"has {count} entries" in message
    assert "holds 2 images" in message


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": [user(text="hello")], "max_tokens": 1}, CHAT),
        ({"messages": [[user(image(SMALL))], [user(text="hello")]], "max_tokens": 1}, BATCH),
        ({"prompt": "hello", "max_tokens": 1}, "/v1/completions"),
    ],
    ids=["no picture", "batch", "completions"],
)
def test_a_list_for_more_pictures_than_there_are_is_refused(client, path, body):
    code, param, _ = refused(client, path, {"model": MODEL_NAME, **body, "keep_ratio": [0.5, 0.5]})
    assert (code, param) == ("invalid_keep_ratio", "keep_ratio")


@pytest.mark.parametrize("value", [0, 1.5, "0.5", True, [0.5], {}, 0.01], ids=repr)
def test_an_entry_is_checked_and_bounded_as_a_number_is(client, value):
    code, param, message = refused(client, CHAT, chat_body(SMALL, SMALL, keep_ratio=[0.5, value]))
    assert (code, param) == ("invalid_keep_ratio", "keep_ratio")
    assert message.startswith("keep_ratio[1] must be")
    parts = user(image(SMALL), image(SMALL, keep_ratio=value))
    assert refused(client, CHAT, chat(parts))[:2] == (code, param)


@pytest.mark.parametrize(
    ("fields", "own", "param"),
    [
        ({"keep_ratio": [0.5, 0.5]}, True, "messages[0].content[1].image_url.keep_ratio"),
        ({"keep_tokens": 20}, True, "keep_tokens"),
        ({"keep_tokens_total": 20}, True, "keep_tokens_total"),
        ({"keep_tokens_total": 20, "keep_ratio": 0.5}, False, "keep_tokens_total"),
        ({"keep_tokens_total": 20, "keep_tokens": 5}, False, "keep_tokens_total"),
        ({"keep_tokens": 20, "keep_ratio": [0.5, 0.5]}, False, "keep_tokens"),
    ],
)
def test_budgets_that_exclude_each_other_are_refused(client, fields, own, param):
    picture = image(SMALL, **({"keep_ratio": 0.5} if own else {}))
    assert refused(client, CHAT, chat(user(image(SMALL), picture), **fields))[:2] == ("unsupported_parameter", param)


def test_a_pictures_own_ratio_is_refused_where_earlier_pictures_are_not_in_the_body(client):
    body = responses_body(SMALL, previous_response_id="resp_0")
    body["input"][0]["content"][0]["keep_ratio"] = 0.5
    param = "input[0].content[0].keep_ratio"
    assert refused(client, RESPONSES, body)[:2] == ("unsupported_parameter", param)


@pytest.mark.parametrize("value", [1, 0, -5, 2.5, "9", True, [9]], ids=repr)
def test_a_bad_total_is_a_400_that_names_it(client, value):
    refusal = refused(client, CHAT, chat_body(SMALL, keep_tokens_total=value))
    assert refusal[:2] == ("invalid_keep_tokens_total", "keep_tokens_total")


@pytest.mark.parametrize("path", BODIES)
def test_a_total_is_shared_to_the_token(client, path):
    body = BODIES[path](data_url(blank_png(280)), rough(), data_url(blank_png(112)), keep_tokens_total=90)
    (smooth, edges, small), ratios = told(client, path, body)
    assert (smooth, edges, small) == (17, 71, 2), "weights of 100, 400 and 16"
    assert ratios == [0.17, 0.71, 0.125]


def test_a_total_with_room_for_all_leaves_them_whole(client):
    assert told(client, CHAT, chat_body(SQUARE, SMALL, keep_tokens_total=116)) == ([100, 16], [1.0, 1.0])


def test_a_total_below_the_least_of_each_gives_the_least(client):
    assert told(client, CHAT, chat_body(SQUARE, TALL, keep_tokens_total=3))[0] == [5, 5]


@pytest.mark.parametrize("path", BODIES)
def test_a_ratio_that_fits_each_picture(client, path):
    flat, small = data_url(blank_png(280)), data_url(blank_png(112))
    body = BODIES[path](flat, rough(), small, keep_ratio="auto")
    assert told(client, path, body) == ([15, 60, 16], [0.15, 0.6, 1.0])


def test_a_single_picture_may_have_a_ratio_that_fits_it(client):
    flat = data_url(blank_png(280))
    assert told(client, CHAT, chat_body(flat, SQUARE, keep_ratio=["auto", 0.5])) == ([15, 50], [0.15, 0.5])
    parts = user(image(flat, keep_ratio="auto"), image(SQUARE))
    assert told(client, CHAT, chat(parts, keep_ratio=0.5)) == ([15, 50], [0.15, 0.5])


def test_a_ratio_that_fits_is_that_number_to_the_caches(client):
    text = "how many of these are there in all, and of which kind is the one that stands on the left"
    fixed = client.post(CHAT, json=chat_body(rough(), text=text, keep_ratio=0.6)).json()["usage"]
    again = client.post(CHAT, json=chat_body(rough(), text=text, keep_ratio="auto")).json()["usage"]
    assert fixed["prompt_tokens"] == again["prompt_tokens"]
    assert again["prompt_tokens_details"]["cached_tokens"] >= 60


@pytest.mark.parametrize("value", ["automatic", "AUTO", "", ["auto"]], ids=repr)
def test_any_other_word_is_refused(client, value):
    body = chat_body(SMALL, SMALL, keep_ratio=value)
    assert refused(client, CHAT, body)[:2] == ("invalid_keep_ratio", "keep_ratio")


def grown(pictures: int, *, text_only: int = 0) -> dict[str, Any]:
    """A chat with a picture in each of its first turns, and turns of text after them."""
    turns: list[dict[str, Any]] = []
    for number in range(pictures + text_only):
        seen = [image(data_url(png(280, 280, 50 + number)))] if number < pictures else []
        question = user(*seen, text=f"this is question number {number} of a long chat about many pictures of things")
        turns += [question, {"role": "assistant", "content": "I see."}]
    return chat(*turns[:-1], keep_tokens_total=200)


def test_a_chat_that_goes_on_keeps_its_shares_until_they_have_to_be_halved(client):
    shares = [told(client, CHAT, grown(pictures))[0] for pictures in range(1, 8)]
    assert shares[0] == [100]
    assert shares[1] == [100, 100]
    assert all(sum(kept) <= 200 for kept in shares)
    assert [kept[0] for kept in shares] == [100, 100, 50, 50, 25, 25, 25]


def test_a_turn_that_halves_no_share_finds_its_prefix(client):
    client.post(CHAT, json=grown(3))
    usage = client.post(CHAT, json=grown(4)).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 3 * 50
    client.post(CHAT, json=grown(5))
    usage = client.post(CHAT, json=grown(5, text_only=1)).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 5 * 25


def test_metrics_have_the_ratio_of_each_picture(client):
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    names = [f"sppruner_image_keep_ratio_{kind}" for kind in ("count", "sum")]
    before = [metric(client, name) for name in names]
    client.post(CHAT, json=chat_body(SQUARE, TALL, keep_ratio=[0.5, 0.1]))
    assert eventually(lambda: metric(client, names[0]) == before[0] + 2)
    assert metric(client, names[1]) - before[1] == pytest.approx(0.6)
