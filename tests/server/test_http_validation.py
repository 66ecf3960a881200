"""Requests that a real server refuses, and goes on serving."""

import json

import pytest

from serving import chat_body, responses_body

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
BODIES = {CHAT: chat_body, RESPONSES: responses_body}


def send(client, path, picture, **fields):
    # json.dumps writes NaN, which httpx's own json= refuses to send.
    content = json.dumps(BODIES[path](picture, **fields))
    return client.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    "value", [0, -1, 1.5, float("nan"), "0.5", True, [], pytest.param(10**400, id="10**400")], ids=repr
)
def test_a_bad_keep_ratio_is_a_400_that_names_it(client, picture, path, stream, value):
    response = send(client, path, picture, keep_ratio=value, stream=stream)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.pop("message")
    assert error == {"type": "invalid_request_error", "param": "keep_ratio", "code": "invalid_keep_ratio"}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"keep_tokens": 1.5}, "keep_tokens", "invalid_keep_tokens"),
        ({"keep_tokens": 1}, "keep_tokens", "invalid_keep_tokens"),
        ({"keep_tokens": 9, "keep_ratio": 0.5}, "keep_tokens", "unsupported_parameter"),
        ({"focus_query": 7}, "focus_query", "invalid_focus_query"),
        ({"focus_query": "half \ud800"}, "focus_query", "invalid_focus_query"),
        ({"focus_scope": "picture"}, "focus_scope", "invalid_focus_scope"),
        ({"focus_scope": "image", "focus_query": "cat"}, "focus_scope", "unsupported_parameter"),
        ({"reduction_method": "uniform"}, "reduction_method", "unsupported_parameter"),
        ({"keep_ratio": 0.5, "mm_processor_kwargs": {"keep_ratio": 0.4}}, "keep_ratio", "invalid_keep_ratio"),
        ({"mm_processor_kwargs": {"keep_ratio": 7}}, "mm_processor_kwargs.keep_ratio", "invalid_keep_ratio"),
    ],
    ids=[
        "fraction",
        "one token",
        "both budgets",
        "query",
        "lone surrogate",
        "scope",
        "scope and query",
        "method",
        "conflict",
        "nested",
    ],
)
def test_every_other_field_is_checked_as_strictly(client, picture, path, fields, param, code):
    response = send(client, path, picture, **fields)
    assert response.status_code == 400
    assert (response.json()["error"]["param"], response.json()["error"]["code"]) == (param, code)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_processor_kwargs_that_are_not_ours_stay_closed(client, picture, path):
    response = send(client, path, picture, keep_ratio=0.5, mm_processor_kwargs={"min_pixels": 3136})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "mm_processor_kwargs"


def test_a_bad_keep_ratio_is_refused_before_the_model_is_looked_up(client):
    response = client.post(CHAT, json=chat_body(model="no-such-model", keep_ratio=7))
    assert response.json()["error"]["param"] == "keep_ratio"


def test_an_unknown_model_is_a_404(client):
    assert client.post(CHAT, json=chat_body(model="no-such-model")).status_code == 404


def test_the_schema_documents_the_fields(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("ChatRequest", "ResponseRequest"):
        number = schemas[name]["properties"]["keep_ratio"]["anyOf"][0]
        assert number == {"type": "number", "minimum": 0.05, "maximum": 1}
        assert schemas[name]["properties"]["keep_ratio"]["description"]
