"""`/v1/visual-tokens`, and the selection that a chat includes."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from PIL import Image
from sppruner_server import headers

from serving import MODEL_NAME, chat_body, data_url, metric, png, sse_data

CHAT, TOLD = "/v1/chat/completions", "/v1/visual-tokens"
INCLUDED = {"include": ["visual_tokens.selection"]}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def square() -> str:
    """144 visual tokens."""
    return data_url(png(336, 336, seed=71))


@pytest.fixture(scope="module")
def wide() -> str:
    """162 visual tokens."""
    return data_url(png(504, 252, seed=72))


def pictures_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return response.json()["pictures"]


def timeless(pictures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not depend on who asked before, and on the clock."""
    return [{**picture, "seconds": None, "encoder_spared": None} for picture in pictures]


def usage_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    *_, last = sse_data(response.text) if response.text.startswith("data:") else [response.json()]
    return last["usage"]["prompt_tokens_details"]["visual_tokens"]


def test_it_says_what_is_kept_of_each_picture_and_why(client, square, wide):
    response = client.post(TOLD, json=chat_body(square, wide, keep_ratio=0.222))
    one, other = pictures_of(response)
    assert (one["grid"], other["grid"]) == ([12, 12], [9, 18])
    for picture, tokens, kept in ((one, 144, 32), (other, 162, 36)):
        assert (picture["original"], picture["retained"], len(picture["kept"])) == (tokens, kept, kept)
        assert sorted(set(picture["kept"])) == picture["kept"]
        assert set(picture["focus"]) < set(picture["kept"])
        assert len(picture["saliency"]) == len(picture["relevance"]) == tokens
        assert picture["gate"] == ("open" if any(picture["relevance"]) else "shut")
        assert (picture["method"], picture["focus_scope"]) == ("focus_context", "question")
        assert picture["seconds"] > 0
        assert picture["through_encoder"] is None
    document = response.json()
    assert document["visual_tokens"]["retained"] == 68 == int(response.headers[headers.RETAINED])
    assert document["seconds"] > 0
    assert document["kv_bytes_per_token"] > 0


@pytest.mark.parametrize("fields", [{}, STREAMED], ids=["plain", "stream"])
def test_a_chat_includes_the_same_beside_its_answer(client, square, wide, fields):
    body = chat_body(square, wide, keep_ratio=0.222)
    usage = usage_of(client.post(CHAT, json={**body, **INCLUDED, **fields}))
    assert (usage["original"], usage["retained"]) == (306, 68)
    assert timeless(usage["selection"]) == timeless(pictures_of(client.post(TOLD, json=body)))


@pytest.mark.parametrize("fields", [{}, STREAMED], ids=["plain", "stream"])
def test_who_asks_gets_the_answer_that_others_get(client, square, fields):
    body = {**chat_body(square, keep_ratio=0.222, max_tokens=8), **fields}

    def said(more: dict[str, object]) -> str:
        response = client.post(CHAT, json={**body, **more})
        events = sse_data(response.text) if fields else [response.json()]
        choices = [choice for event in events for choice in event["choices"]]
        return "".join(choice.get("message", choice.get("delta"))["content"] or "" for choice in choices)

    assert said(INCLUDED) == said({}) != ""


def test_without_include_the_usage_is_what_it_was(client, square):
    assert "selection" not in usage_of(client.post(CHAT, json=chat_body(square, keep_ratio=0.222)))
    assert "selection" not in usage_of(client.post(CHAT, json=chat_body(square, keep_ratio=0.222, include=[])))


@pytest.mark.parametrize("scope", ["question", "image"])
def test_another_question_finds_the_rows_and_keeps_other_tokens_only_where_it_steers(client, scope):
    picture = data_url(png(336, 336, seed=73 + (scope == "image")))
    first, second = (
        pictures_of(client.post(TOLD, json=chat_body(picture, text=text, keep_ratio=0.222, focus_scope=scope)))[0]
        for text in ("what is the colour of the cat", "where is the big dog")
    )
    assert (first["encoder_spared"], second["encoder_spared"]) == (False, True)
    assert first["focus_scope"] == second["focus_scope"] == scope
    assert first["saliency"] == second["saliency"]
    if scope == "image":
        assert first["kept"] == second["kept"]
        assert first["relevance"] is None


def test_a_picture_that_is_left_whole_keeps_all_and_says_why(client, square):
    (picture,) = pictures_of(client.post(TOLD, json=chat_body(square)))
    assert picture["kept"] == list(range(144))
    assert picture["skipped_reason"] == "keep_ratio_is_1"
    assert picture["saliency"] is picture["relevance"] is picture["gate"] is picture["focus"] is None


def test_a_chat_without_a_picture_has_none_to_tell_of(client):
    assert pictures_of(client.post(TOLD, json=chat_body())) == []
    assert client.post(CHAT, json=chat_body(**INCLUDED)).status_code == 200


def test_one_token_is_made_and_nothing_of_the_answer_counts(client, square):
    wishes = {**STREAMED, "max_tokens": 64, "n": 3, "logprobs": True, "top_logprobs": 2, **INCLUDED}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    choices = ["required", {"type": "function", "function": {"name": "look"}}, "auto"]
    bodies = [{**chat_body(square, keep_ratio=0.222, tools=[tool], tool_choice=one), **wishes} for one in choices]
    bodies.append({**chat_body(square, keep_ratio=0.222, response_format={"type": "json_object"}), **wishes})
    before = metric(client, "vllm:generation_tokens_total")
    for body in bodies:
        (picture,) = pictures_of(client.post(TOLD, json=body))
        assert len(picture["kept"]) == 32
    assert metric(client, "vllm:generation_tokens_total") - before == len(bodies)


def test_it_is_counted(client, square):
    def counted() -> list[float]:
        name = "sppruner_selections_told_total"
        return [metric(client, name, asked_by=by, telling="told") for by in ("endpoint", "answer")]

    before = counted()
    client.post(TOLD, json=chat_body(square, keep_ratio=0.5))
    client.post(CHAT, json=chat_body(square, keep_ratio=0.5, **INCLUDED))
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1]


def test_as_a_png_it_shows_what_the_document_says(client, square):
    body = chat_body(square, keep_ratio=0.222)
    (picture,) = pictures_of(client.post(TOLD, json=body))
    response = client.post(TOLD, json=body, params={"format": "png"})
    assert response.headers["content-type"] == "image/png"
    drawn = Image.open(io.BytesIO(response.content)).convert("RGB")
    side, (left, top) = 640, (12, 24)
    seen = {}
    for token in range(144):
        x, y = left + side * (token % 12) // 12, top + side * (token // 12) // 12
        seen[token] = drawn.getpixel((x, y))  # the corner of its frame
    orange, blue = (213, 94, 0), (86, 180, 233)
    assert [token for token, colour in seen.items() if colour == orange] == picture["focus"]
    assert sorted(token for token, colour in seen.items() if colour in (orange, blue)) == picture["kept"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"include": ["visual_tokens"]}, "invalid_value"),
        ({"include": "visual_tokens.selection"}, "invalid_value"),
        ({"include": 7}, "invalid_value"),
        ({**INCLUDED, "stream": True}, "unsupported_parameter"),
        ({**INCLUDED, "stream": True, "stream_options": {"include_usage": False}}, "unsupported_parameter"),
    ],
)
def test_a_wish_that_cannot_be_met_is_a_400(client, square, fields, code):
    response = client.post(CHAT, json=chat_body(square, keep_ratio=0.5, **fields))
    assert response.status_code == 400
    assert (response.json()["error"]["param"], response.json()["error"]["code"]) == ("include", code)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (f"{CHAT}/batch", {"messages": [[{"role": "user", "content": "x"}]]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}]}),
        ("/invocations", {"messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_where_no_usage_could_hold_it_it_is_not_lost_silently(client, path, more):
    response = client.post(path, json={"model": MODEL_NAME, "max_tokens": 2, **INCLUDED, **more})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unknown_parameter"


@pytest.mark.parametrize(
    ("fields", "params", "param"),
    [
        ({"keep_ratio": 7}, {}, "keep_ratio"),
        ({"keepratio": 0.5}, {}, "keepratio"),
        ({"keep_ratio": 0.5}, {"format": "gif"}, "format"),
        ({"keep_ratio": 0.5}, {"format": ["json", "png"]}, "format"),
        ({"keep_ratio": 0.5, "format": "png"}, {}, "format"),
        ({"keep_ratio": 0.5, "messages": "x"}, {}, "messages"),
        ({"keep_ratio": 0.5, "max_tokens": "5"}, {}, "max_tokens"),
    ],
)
def test_a_bad_request_is_refused_as_a_chat_is(client, square, fields, params, param):
    response = client.post(TOLD, json={**chat_body(square), **fields}, params=params)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_picture_that_cannot_be_read_is_refused_and_another_one_is_told_of_at_once(client, square):
    broken = client.post(TOLD, json=chat_body(square, "data:image/png;base64,AAAA", keep_ratio=0.5))
    assert broken.json()["error"]["code"] == "invalid_image"
    assert pictures_of(client.post(TOLD, json=chat_body(square, keep_ratio=0.5)))


def test_it_is_described(client):
    document = client.get("/openapi.json").json()
    assert "post" in document["paths"][TOLD]
    assert "include" in document["components"]["schemas"]["ChatRequest"]["properties"]
