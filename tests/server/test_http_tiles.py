"""A model that tiles pictures behind the server: what is counted, refused, told and drawn of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from beds import build_llava_next
from serving import Server, chat_body, data_url, png, serving

pytestmark = pytest.mark.skipif("SPPRUNER_TEST_EVERY_FAMILY" not in os.environ, reason="starts a server: make parity")

CHAT, TOLD = "/v1/chat/completions", "/v1/visual-tokens"
SQUARE, TALL = data_url(png(336, 336, seed=1)), data_url(png(252, 504, seed=2))
ENDS = [144 + 12 + line * 13 for line in range(12)]
"""Rows of the square that end lines: 144 of the base, and 12 lines of 12 tokens."""


@pytest.fixture(scope="module")
def tiling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("llava_next")
    with serving(build_llava_next(folder / "model"), folder / "server.log", "--explain") as server:
        yield server


@pytest.fixture(scope="module")
def client(tiling: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiling.url, timeout=240) as asking:
        yield asking


def test_usage_counts_all_rows_of_the_tiles(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat_body(SQUARE, TALL, keep_ratio=[0.5, 0.222]))
    assert answer.status_code == 200, answer.text
    tokens = answer.json()["usage"]["prompt_tokens_details"]["visual_tokens"]
    assert [(image["original"], image["retained"]) for image in tokens["images"]] == [(300, 150), (456, 102)]


def test_one_budget_is_shared_to_the_token(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat_body(SQUARE, TALL, keep_tokens_total=200))
    assert answer.json()["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == 200


def test_a_limit_of_pixels_below_what_its_tiles_come_to_is_refused(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=chat_body(SQUARE, keep_ratio=0.5, max_pixels=1000))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "max_pixels")
    assert f"sizes of its own, of up to {168 * 168 + 168 * 504} pixels" in answer.json()["error"]["message"]


def test_it_tells_the_grids_of_a_picture_and_what_is_kept_of_each(client: httpx.Client) -> None:
    (picture,) = client.post(TOLD, json=chat_body(SQUARE, keep_ratio=0.222)).json()["pictures"]
    assert picture["grid"] == [1, 300]
    base, mosaic = picture["pieces"]
    assert base == {"grid": [12, 12], "tokens": list(range(144))}
    assert mosaic["grid"] == [12, 12]
    assert sorted([*base["tokens"], *mosaic["tokens"], *ENDS]) == list(range(300))
    kept = set(picture["kept"])
    assert len(kept) == 67
    assert [len(kept.intersection(part)) for part in (base["tokens"], mosaic["tokens"], ENDS)] == [28, 27, 12]
    assert not set(ENDS).intersection(picture["focus"])
    assert all(picture["saliency"][end] == 0 for end in ENDS)


def test_a_picture_that_is_left_whole_has_the_same_grids(client: httpx.Client) -> None:
    (picture,) = client.post(TOLD, json=chat_body(SQUARE)).json()["pictures"]
    assert picture["kept"] == list(range(300))
    assert [piece["grid"] for piece in picture["pieces"]] == [[12, 12], [12, 12]]


def test_each_grid_is_drawn_over_the_whole_picture(client: httpx.Client) -> None:
    body = chat_body(SQUARE, keep_ratio=0.222)
    (picture,) = client.post(TOLD, json=body).json()["pictures"]
    drawn = Image.open(io.BytesIO(client.post(TOLD, params={"format": "png"}, json=body).content)).convert("RGB")
    framed = []
    for place, piece in enumerate(picture["pieces"]):
        left, top, side = 12 + place * (640 + 12), 24, 640
        for cell, token in enumerate(piece["tokens"]):
            corner = left + side * (cell % 12) // 12, top + side * (cell // 12) // 12
            if drawn.getpixel(corner) in ((213, 94, 0), (86, 180, 233)):
                framed.append(token)
    assert sorted(framed) == [token for token in picture["kept"] if token not in ENDS]
