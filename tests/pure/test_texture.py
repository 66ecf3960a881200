"""The detail of a picture, from its pixels."""

from __future__ import annotations

import random

import pytest
from PIL import Image, ImageDraw

from sppruner_vllm.pictures.texture import texture


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
