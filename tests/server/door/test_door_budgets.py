"""Lists, `auto` and sizes under the bounds of a key and of the operator."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from door.served import ALICE, BOUNDED, CHAT, MOST_PIXELS, PICTURE
from serving import chat_body, data_url, png
from video_files import avi, frame, frames, video_url


def flat() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (336, 336), "navy").save(buffer, "PNG")
    return data_url(buffer.getvalue())


FLAT = flat()
SMALL = data_url(png(224, 224))
LARGE = data_url(png(672, 672))


def images_of(answer: httpx.Response) -> list[tuple[int, int]]:
    assert answer.status_code == 200, answer.text
    images = answer.json()["usage"]["prompt_tokens_details"]["visual_tokens"]["images"]
    return [(image["original"], image["retained"]) for image in images]


@pytest.mark.parametrize(
    ("asked", "retained"),
    [
        ([0.25, 0.5], [36, 32]),
        ([None, 0.25], [72, 16]),  # the default of 1 is above the key's bounds
        (["auto", None], [36, 32]),  # a flat picture would get less, and a small one all
        ([0.5, "auto"], [72, 32]),
    ],
)
def test_each_entry_of_a_list_is_held_to_the_keys_bounds(
    guest: httpx.Client, asked: list[Any], retained: list[int]
) -> None:
    body = chat_body(FLAT, SMALL, keep_ratio=asked)
    assert images_of(guest.post(CHAT, json=body, headers=BOUNDED)) == list(zip((144, 64), retained, strict=True))


def test_auto_is_held_to_the_keys_bounds(guest: httpx.Client) -> None:
    body = chat_body(FLAT, SMALL, keep_ratio="auto")
    assert images_of(guest.post(CHAT, json=body, headers=BOUNDED)) == [(144, 36), (64, 32)]
    assert images_of(guest.post(CHAT, json=body, headers=ALICE)) == [(144, 22), (64, 64)]


@pytest.mark.parametrize("asked", [[0.25, 0.51], [0.2, 0.25], [1, None]])
def test_an_entry_beyond_the_keys_bounds_is_refused(guest: httpx.Client, asked: list[Any]) -> None:
    body = chat_body(FLAT, SMALL, keep_ratio=asked)
    error = guest.post(CHAT, json=body, headers=BOUNDED).json()["error"]
    assert error["code"] == "invalid_keep_ratio"
    assert "between 0.25 and 0.5" in error["message"]
    assert guest.post(CHAT, json=body, headers=ALICE).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"max_pixels": 3136}, {"keep_ratio": 0.25}, {"keep_ratio": "auto"}])
def test_however_small_pictures_are_made_all_of_them_have_a_limit(alice: httpx.Client, fields: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.new("1", (1000, 1000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 1000
    wide = data_url(buffer.getvalue())
    assert len(images_of(alice.post(CHAT, json=chat_body(*[wide] * 3, **{"max_pixels": 3136, **fields})))) == 3
    answer = alice.post(CHAT, json=chat_body(*[wide] * 4, **fields))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "image_too_large"
    assert f"more than {MOST_PIXELS} pixels" in error["message"]


def test_the_conversations_of_a_batch_share_what_may_be_decoded(alice: httpx.Client) -> None:
    """Of 1 million pixels each: three may be, in one conversation or in three."""
    buffer = io.BytesIO()
    Image.new("1", (1000, 1000)).save(buffer, "PNG")
    (turn,) = chat_body(data_url(buffer.getvalue()))["messages"]

    def ask(conversations: int) -> httpx.Response:
        body = {**chat_body(), "messages": [[turn]] * conversations, "max_tokens": 1}
        return alice.post(f"{CHAT}/batch", json=body)

    assert ask(3).status_code == 200
    refused = ask(4)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], f"more than {MOST_PIXELS} pixels" in error["message"]) == ("image_too_large", True)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (avi(frames(2), said=2), None),
        (avi([frame((1200, 1000))] * 4, (1200, 1000)), "media_too_large"),
        (avi([frame((600, 500))] * 60, (600, 500), fps=60), "media_too_large"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n", "invalid_media"),
        (b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "invalid_media"),
    ],
    ids=["small", "shown", "passed over", "playlist", "session"],
)
def test_a_video_is_refused_by_what_its_header_says(alice: httpx.Client, content: bytes, code: str | None) -> None:
    body = chat_body(max_tokens=1)
    body["messages"][0]["content"].insert(0, {"type": "video_url", "video_url": {"url": video_url(content)}})
    answer = alice.post(CHAT, json=body)
    if code is None:
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, "messages[0].content[0].video_url")


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_pixels": [None, None]}, [144, 144]),
        ({"max_pixels": 10**9}, [144, 144]),
        ({"max_pixels": [224 * 224, None]}, [64, 144]),
        ({"max_pixels": [10**9, 224 * 224]}, [144, 64]),
    ],
)
def test_the_operators_most_pixels_hold_whatever_a_request_asks_for(
    alice: httpx.Client, fields: dict[str, Any], tokens: list[int]
) -> None:
    answer = alice.post(CHAT, json=chat_body(LARGE, PICTURE, **fields))
    assert images_of(answer) == [(count, count) for count in tokens]
    assert int(answer.headers["x-sppruner-shrunk-images"]) >= 1
