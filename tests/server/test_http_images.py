"""Images that cannot be used are the client's fault, and the engine goes on."""

import pytest

from bad_images import BAD_IMAGES, UNDECODABLE, blank_png
from serving import chat_body, data_url, png, responses_body

IMAGE = "messages[0].content[0].image_url"
DECODERS = {"pil", "pillow", "libjpeg", "libtiff", "zlib", "bytesio", "identify", "python"}


@pytest.mark.parametrize("url", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_in_a_chat_is_a_4xx(client, url):
    response = client.post("/v1/chat/completions", json=chat_body(url, keep_ratio=0.5))
    assert 400 <= response.status_code < 500
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("url", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_in_a_response_is_a_4xx(client, url):
    response = client.post("/v1/responses", json=responses_body(url, keep_ratio=0.5))
    assert 400 <= response.status_code < 500
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("too many pixels", "image_too_large"), ("local file", "image_url_forbidden"), ("no base64", "invalid_image")],
)
def test_what_plain_vllm_answers_with_a_5xx_has_a_code_of_its_own(client, name, code):
    response = client.post("/v1/chat/completions", json=chat_body(BAD_IMAGES[name]))
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize("name", [*UNDECODABLE, "bad base64"])
def test_bytes_that_cannot_be_decoded_are_a_refusal_that_quotes_no_decoder(client, name):
    response = client.post("/v1/chat/completions", json=chat_body(BAD_IMAGES[name]))
    assert response.status_code == 400
    error = response.json()["error"]
    assert not DECODERS & set(error.pop("message").lower().split())
    assert error == {"type": "invalid_request_error", "param": IMAGE, "code": "invalid_image"}


def test_more_visual_tokens_than_the_context_are_a_400_and_fit_once_reduced(client):
    images = [data_url(png(1008, 1008, seed=7))] * 4
    assert client.post("/v1/chat/completions", json=chat_body(*images)).status_code == 400
    reduced = client.post("/v1/chat/completions", json=chat_body(*images, keep_ratio=0.222))
    assert reduced.json()["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == 4 * 288


def test_a_reduced_request_may_bring_more_than_the_context_only_as_far_as_the_operator_says(client):
    huge = client.post("/v1/chat/completions", json=chat_body(data_url(blank_png(4000)), keep_ratio=0.222))
    assert huge.status_code == 400
    error = huge.json()["error"]
    assert error.pop("message").endswith("tokens; there may be 6000")
    assert error == {"type": "invalid_request_error", "param": "keep_ratio", "code": "too_many_unreduced_tokens"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "messages", "context_length_exceeded"),
        ({"keep_ratio": 0.222}, "keep_ratio", "too_many_unreduced_tokens"),
    ],
    ids=["whole", "reduced"],
)
def test_a_picture_that_cannot_fit_is_refused_before_it_is_decoded(client, fields, param, code):
    spoilt = bytearray(blank_png(4000))
    spoilt[-13] ^= 1  # the last of the checksum of its pixels, which only decoding looks at
    response = client.post("/v1/chat/completions", json=chat_body(data_url(bytes(spoilt)), **fields))
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, code)


def test_the_server_still_answers_after_all_of_these(client, picture):
    for url in BAD_IMAGES.values():
        client.post("/v1/chat/completions", json=chat_body(url))
    assert client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222)).status_code == 200
