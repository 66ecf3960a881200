"""What a running server says when it refuses, as clients see it."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from anthropic_bodies import count_body, messages_body

from serving import MODEL_NAME, Server, chat_body, data_url, png

CHAT, RESPONSES, MESSAGES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions"

DEAD_END = {"regex": r"a{60}b[^\s\S]"}
"""Many letters, then a character that there is none of. The stream has begun by then, whoever gets a core first."""

ENOUGH = 200
"""Tokens to get there."""

NOTHING_FITS = "leaves no token that may come next"
PICTURE = data_url(png(56, 56))


@pytest.fixture(scope="module")
def openai_client(server: Server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def error(response: httpx.Response) -> tuple[int, str, str, str | None]:
    """Status, type, code and param of a refusal in OpenAI's shape."""
    body = response.json()
    assert body.keys() == {"error"}
    said = body["error"]
    assert said.keys() == {"message", "type", "param", "code"}
    return response.status_code, said["type"], said["code"], said["param"]


# Routes and methods


@pytest.mark.parametrize("path", ["/nowhere", "/v1/nowhere", "/v1", "/", "/v1/chat/completions/nowhere"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_route_is_a_404_in_the_vocabulary(client, method, path):
    response = client.request(method, path)
    assert error(response) == (404, "invalid_request_error", "unknown_url", None)
    assert f"{method} {path}" in response.json()["error"]["message"]


def test_an_unknown_route_of_the_messages_api_has_its_shape(client):
    response = client.post("/v1/messages/batches", json={})
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", COMPLETIONS, "POST"),
        ("PUT", "/v1/models", "GET, HEAD"),
        ("POST", "/v1/models/tiny", "GET, HEAD"),
        ("DELETE", "/ping", "GET, HEAD, POST"),
        ("PATCH", "/v1/responses/some", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(client, method, path, allowed):
    response = client.request(method, path)
    assert error(response) == (405, "invalid_request_error", "method_not_allowed", None)
    methods = set(response.headers["allow"].split(", "))
    assert methods == set(allowed.split(", "))


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-data-parallel-rank", "7"), ("x-data-parallel-rank", "first"), ("x-vllm-priority", "9" * 30)],
)
def test_a_header_that_steers_nowhere_is_named(client, header, value):
    response = client.post(CHAT, json=chat_body(max_tokens=1), headers={header: value})
    assert error(response) == (400, "invalid_request_error", "invalid_value", header)


def test_a_wrong_method_of_the_messages_api_has_its_shape(client):
    response = client.get(MESSAGES)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", "invalid_request_error")


# Models


def test_a_model_is_retrieved_by_its_name(openai_client):
    model = openai_client.models.retrieve(MODEL_NAME)
    assert (model.id, model.object) == (MODEL_NAME, "model")
    assert model.id in [listed.id for listed in openai_client.models.list()]


@pytest.mark.parametrize("name", ["nobody", "some/body", "some%2Fbody", "ü"])
def test_a_model_that_is_not_served_is_a_404(client, name):
    assert error(client.get(f"/v1/models/{name}")) == (404, "invalid_request_error", "model_not_found", "model")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat_body()),
        (COMPLETIONS, {"prompt": "hello"}),
        (RESPONSES, {"input": "hello"}),
        ("/tokenize", {"prompt": "hello"}),
        ("/detokenize", {"tokens": [1]}),
    ],
)
def test_an_unknown_model_has_a_code_of_its_own(client, path, body):
    response = client.post(path, json={**body, "model": "nobody"})
    assert error(response) == (404, "invalid_request_error", "model_not_found", "model")


def test_an_unknown_model_of_a_message_has_anthropics_word(client):
    response = client.post(MESSAGES, json={**messages_body(), "model": "nobody"})
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


def test_an_unknown_response_is_a_404(client):
    status, _, code, _ = error(client.get("/v1/responses/resp_of_nobody"))
    assert (status, code) == (404, "not_found")


# OpenAI's own client


@pytest.mark.parametrize(
    ("kind", "send", "code", "param"),
    [
        (openai.NotFoundError, {"model": "nobody"}, "model_not_found", "model"),
        (openai.BadRequestError, {"seed": 2**70}, "invalid_value", "seed"),
        (openai.BadRequestError, {"messages": [{"role": "user", "content": "a " * 6000}]}, None, "messages"),
        (openai.BadRequestError, {"extra_body": {"keepratio": 0.2}}, "unknown_parameter", "keepratio"),
    ],
    ids=["model", "value", "length", "slip"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_openais_client_raises_with_code_type_and_param(openai_client, kind, send, code, param, stream):
    asked = {"model": MODEL_NAME, "messages": chat_body()["messages"], "max_tokens": 2, "stream": stream}
    with pytest.raises(kind) as caught:
        openai_client.chat.completions.create(**{**asked, **send})
    assert caught.value.type == "invalid_request_error"
    assert (caught.value.code, caught.value.param) == (code or "context_length_exceeded", param)
    assert caught.value.request_id


def test_openais_client_raises_what_goes_wrong_inside_a_stream(openai_client):
    stream = openai_client.chat.completions.create(
        model=MODEL_NAME,
        messages=chat_body()["messages"],
        stream=True,
        extra_body={"structured_outputs": DEAD_END},
    )
    with pytest.raises(openai.APIError, match=NOTHING_FITS) as caught:
        list(stream)
    assert (caught.value.code, caught.value.type) == ("invalid_value", "invalid_request_error")


# Streams


@pytest.mark.parametrize(("path", "body"), [(CHAT, chat_body()), (COMPLETIONS, {"prompt": "x"})])
def test_a_stream_that_fails_ends_with_openais_error(client, path, body):
    fields = {"model": MODEL_NAME, "max_tokens": ENOUGH, "stream": True, "structured_outputs": DEAD_END}
    response = client.post(path, json={**body, **fields})
    assert response.status_code == 200
    *_, last, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    said = json.loads(last.removeprefix("data: "))["error"]
    assert said.keys() == {"message", "type", "param", "code"}
    assert (said["code"], said["param"]) == ("invalid_value", "structured_outputs")


def test_a_response_that_fails_ends_with_the_error_event(client):
    fields = {"model": MODEL_NAME, "input": "hello", "stream": True, "structured_outputs": DEAD_END}
    response = client.post(RESPONSES, json=fields)
    assert response.status_code == 200
    *before, last, end = response.text.split("\n\n")
    assert end == ""
    kind, data = last.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert kind == "event: error"
    assert (event["type"], event["code"], event["sequence_number"]) == ("error", "invalid_value", len(before))
    assert event["error"]["code"] == "invalid_value"


def test_a_message_that_fails_ends_with_anthropics_error_event(client):
    schema = {"type": "string", "pattern": DEAD_END["regex"]}
    fields = {"stream": True, "output_config": {"format": {"type": "json_schema", "schema": schema}}}
    response = client.post(MESSAGES, json=messages_body(**{**fields, "max_tokens": ENOUGH}))
    assert response.status_code == 200
    *_, last, end = response.text.split("\n\n")
    assert end == ""
    kind, data = last.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert (kind, event["type"], event["error"]["type"]) == ("event: error", "error", "invalid_request_error")
    assert NOTHING_FITS in event["error"]["message"]


# Messages

SOURCE = {"type": "base64", "media_type": "image/png", "data": PICTURE.partition(",")[2]}

NO_PICTURE = {
    "empty": {"type": "image", "source": {}},
    "null": {"type": "image", "source": None},
    "missing": {"type": "image"},
    "no data": {"type": "image", "source": {**SOURCE, "data": ""}},
    "data null": {"type": "image", "source": {**SOURCE, "data": None}},
    "no type": {"type": "image", "source": {"data": SOURCE["data"], "media_type": "image/png"}},
    "another type": {"type": "image", "source": {"type": "file", "file_id": "x"}},
    "no url": {"type": "image", "source": {"type": "url"}},
    "an empty url": {"type": "image", "source": {"type": "url", "url": ""}},
    "in a result": {
        "type": "tool_result",
        "tool_use_id": "x",
        "content": [{"type": "image", "source": {}}],
    },
    "nothing of ours in a result": {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "document"}]},
}


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/count_tokens"])
@pytest.mark.parametrize("name", NO_PICTURE)
def test_an_image_without_a_picture_is_refused_and_not_left_out(client, path, name):
    make = messages_body if path == MESSAGES else count_body
    body = make()
    body["messages"][0]["content"].insert(0, NO_PICTURE[name])
    response = client.post(path, json=body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["param"].startswith("messages[0].content[0]")


def test_an_image_beside_the_messages_is_refused_and_not_left_out(client):
    response = client.post(MESSAGES, json=messages_body(system=[{"type": "image", "source": SOURCE}]))
    assert (response.status_code, response.json()["error"]["param"]) == (400, "system[0].type")


def test_a_message_without_its_bound_is_refused_in_anthropics_shape(client):
    body = messages_body()
    del body["max_tokens"]
    response = client.post(MESSAGES, json=body)
    assert response.status_code == 400
    assert response.json() == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "max_tokens must be given",
            "param": "max_tokens",
            "code": "missing_required_parameter",
        },
        "request_id": response.headers["x-request-id"],
    }
