"""Endpoints of vLLM that render images too: they reduce, and refuse bad values."""

import pytest
from anthropic_bodies import count_body, messages_body
from sppruner_server import headers

from serving import MODEL_NAME, chat_body, data_url, png, responses_body


def batch_body(picture, **fields):
    body = chat_body(picture, **fields)
    return {**body, "messages": [body["messages"], body["messages"]]}


def test_messages_reduce_and_account_in_headers(client, picture):
    response = client.post("/v1/messages", json=messages_body(picture, keep_ratio=0.222))
    assert response.status_code == 200
    assert response.headers[headers.RETAINED] == "288"


def test_a_message_is_counted_as_it_will_be_served(client, picture):
    counted = client.post("/v1/messages/count_tokens", json=count_body(picture, keep_ratio=0.222))
    served = client.post("/v1/messages", json=messages_body(picture, keep_ratio=0.222)).json()["usage"]
    assert counted.headers[headers.RETAINED] == "288"
    assert counted.json()["input_tokens"] == sum(served[name] or 0 for name in served if name.endswith("input_tokens"))


@pytest.mark.parametrize(("path", "make"), [("", messages_body), ("/count_tokens", count_body)])
def test_messages_refuse_a_bad_value_in_anthropics_error_shape(client, picture, path, make):
    response = client.post(f"/v1/messages{path}", json=make(picture, keep_ratio=7))
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_batch_reduces_each_of_its_conversations(client, picture):
    response = client.post("/v1/chat/completions/batch", json=batch_body(picture, keep_ratio=0.222))
    usage = response.json()["usage"]
    assert 2 * 288 < usage["prompt_tokens"] < 2 * (288 + 64)
    assert usage["prompt_tokens_details"]["visual_tokens"]["retained"] == 2 * 288
    assert response.headers[headers.RETAINED] == str(2 * 288)


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("/v1/chat/completions", chat_body),
        ("/v1/chat/completions/batch", batch_body),
        ("/v1/responses", responses_body),
        ("/v1/messages", messages_body),
    ],
)
def test_a_picture_that_is_asked_again_is_shared_from_then_on(client, path, make):
    picture = data_url(png(336, 336, seed=len(path)))
    said = [
        client.post(path, json=make(picture, text=text, keep_ratio=0.5, focus_scope="auto")).headers[
            headers.FOCUS_SCOPE
        ]
        for text in ("where is the cat", "and the dog", "and the sea", "where is the cat")
    ]
    assert said == ["question", "image", "image", "question"]


def test_invocations_reduce(client, picture):
    response = client.post("/invocations", json=chat_body(picture, keep_ratio=0.222))
    assert response.json()["usage"]["prompt_tokens_details"]["multimodal_tokens"] == {"image": 288}


def test_tokenize_counts_the_reduced_prompt(client, picture):
    response = client.post("/tokenize", json=chat_body(picture, keep_ratio=0.222))
    assert 288 < response.json()["count"] < 288 + 64


def test_a_text_completion_takes_the_field_and_answers(client):
    body = {"model": MODEL_NAME, "prompt": "hello", "max_tokens": 2, "keep_ratio": 0.5}
    assert client.post("/v1/completions", json=body).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions/batch", "/invocations", "/tokenize"])
def test_a_bad_value_is_a_400_that_names_the_field(client, picture, path):
    make = batch_body if path.endswith("batch") else chat_body
    response = client.post(path, json=make(picture, keep_ratio=7))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "keep_ratio"
