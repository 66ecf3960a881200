"""Endpoints of vLLM that render images too: they reduce, and refuse bad values."""

import pytest
from sppruner_server import headers

from serving import MODEL_NAME, chat_body


def messages_body(picture, **fields):
    source = {"type": "base64", "media_type": "image/png", "data": picture.partition(",")[2]}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
    return {"model": MODEL_NAME, "max_tokens": 3, "messages": [{"role": "user", "content": content}], **fields}


def batch_body(picture, **fields):
    body = chat_body(picture, **fields)
    return {**body, "messages": [body["messages"], body["messages"]]}


def test_messages_reduce_and_account_in_headers(client, picture):
    response = client.post("/v1/messages", json=messages_body(picture, keep_ratio=0.222))
    assert response.status_code == 200
    assert response.headers[headers.RETAINED] == "288"


def test_messages_refuse_a_bad_value_in_anthropics_error_shape(client, picture):
    response = client.post("/v1/messages", json=messages_body(picture, keep_ratio=7))
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_batch_reduces_each_of_its_conversations(client, picture):
    response = client.post("/v1/chat/completions/batch", json=batch_body(picture, keep_ratio=0.222))
    assert 2 * 288 < response.json()["usage"]["prompt_tokens"] < 2 * (288 + 64)


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
