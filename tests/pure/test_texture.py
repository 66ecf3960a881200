"""The detail of a picture, from its pixels."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sppruner_vllm.pictures.texture import READING, texture
from sppruner_vllm.planning.auto import auto_ratio
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import Settings


def page(side: int = 420) -> Image.Image:
    """Lines of words in print."""
    draw, words = random.Random(0), Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(words)
    for top in range(4, side, 14):
        pen.text((4, top), "".join(draw.choice("abcdefghij klmno pqrstu") for _ in range(side // 6)), fill="black")
    return words


def test_print_has_more_than_a_smooth_picture_and_a_flat_one_none():
    smooth = Image.linear_gradient("L").resize((420, 420))
    assert texture(Image.new("RGB", (420, 420), (200, 10, 10))) == 0
    assert texture(smooth) < 0.05
    assert texture(page()) > 0.6


def test_a_pattern_that_comes_again_counts_once():
    tile = Image.frombytes("L", (28, 28), random.Random(1).randbytes(28 * 28))
    tiled = Image.new("L", (280, 280))
    for place in range(100):
        tiled.paste(tile, (place % 10 * 28, place // 10 * 28))
    assert texture(tile) == 1
    assert texture(tiled) == 0.01


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (28, 28), (27, 29), (1400, 60)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_any_picture_has_one(size, mode):
    assert 0 <= texture(Image.new(mode, size)) <= 1


def sheet(
    *, height=16, leading=1.3, margin=0.08, filled=1.0, ink="black", paper="white", size=(672, 868)
) -> Image.Image:
    """A page of lines. height: of its print, pixels. margin: share of the width. filled: share of the room for text."""
    draw, (width, length) = random.Random(0), size
    drawn = Image.new("RGB", size, paper)
    pen, font, edge = ImageDraw.Draw(drawn), ImageFont.load_default(height), int(margin * width)
    for top in range(edge, int(edge + (length - 2 * edge) * filled) - height, int(height * leading)):
        line = ""
        while pen.textlength(line, font=font) < width - 2 * edge - 5 * height:
            line += "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(2, 8))) + " "
        pen.text((edge, top), line, fill=ink, font=font)
    return drawn


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return Image.open(file)


def scanned(image: Image.Image) -> Image.Image:
    """With the noise of a sensor."""
    noise = np.random.default_rng(0).normal(0, 5, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


PAGES = {
    "small print": {"height": 9},
    "usual": {},
    "large print": {"height": 48},
    "large print, far apart": {"height": 28, "leading": 2.2, "margin": 0.15, "size": (448, 448)},
    "double spaced": {"leading": 2.2, "margin": 0.15},
    "wide margins": {"margin": 0.2},
    "a third of a page": {"filled": 0.33},
    "white on black": {"ink": "white", "paper": "black"},
    "grey": {"ink": "#999999"},
    "blue on cream": {"ink": "#334488", "paper": "#f4ecd8"},
    "many pixels": {"height": 60, "size": (1568, 2016)},
}


@pytest.mark.parametrize("taken", [lambda image: image, compressed, scanned], ids=["drawn", "compressed", "scanned"])
@pytest.mark.parametrize("page_of", PAGES.values(), ids=PAGES)
def test_no_page_of_print_is_kept_less_of_than_the_operator_has_for_reading(page_of, taken):
    detail = texture(taken(sheet(**page_of)))
    assert detail >= READING
    limits = Settings(auto_least_ratio=0.1, auto_reading_ratio=0.7)
    assert auto_ratio(500, detail, validate_request({"keep_ratio": "auto"}, limits, frozenset()), limits) == 0.7


def test_a_screen_with_a_few_labels_is_no_page():
    screen = Image.new("RGB", (1120, 700), "#f5f5f5")
    pen = ImageDraw.Draw(screen)
    pen.rectangle((0, 0, 1120, 60), fill="#224488")
    pen.rectangle((260, 120, 1080, 640), fill="white", outline="#999999")
    for row in range(12):
        pen.text((20, 90 + row * 40), "an entry of the menu", fill="black", font=ImageFont.load_default(16))
    assert texture(screen) < 0.1
