"""Images that cannot be used are the client's fault, and the engine goes on."""

import struct
import zlib

import pytest

from serving import chat_body, data_url, png, responses_body


def huge_png(side: int) -> bytes:
    """A few bytes that claim to be side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


BAD_IMAGES = {
    "bad base64": "data:image/png;base64,@@@@",
    "no base64": "data:image/png,abc",
    "not an image": data_url(b"hello world"),
    "truncated": data_url(png(256, 256)[:2000]),
    "too many pixels": data_url(huge_png(20_000)),
    "aspect ratio": data_url(png(2000, 5)),
    "local file": "file:///etc/hostname",
    "no scheme": "picture.png",
    "empty": "",
}


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


def test_more_visual_tokens_than_the_context_are_a_400_and_fit_once_reduced(client, picture):
    assert client.post("/v1/chat/completions", json=chat_body(*[picture] * 4)).status_code == 400
    reduced = client.post("/v1/chat/completions", json=chat_body(*[picture] * 4, keep_ratio=0.222))
    assert reduced.json()["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == 4 * 288


def test_the_server_still_answers_after_all_of_these(client, picture):
    for url in BAD_IMAGES.values():
        client.post("/v1/chat/completions", json=chat_body(url))
    assert client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222)).status_code == 200
