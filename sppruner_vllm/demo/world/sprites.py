"""Draws the things of a scene, each as a small picture with transparency.

Shapes and clutter are drawn four times too large and shrunk, so that edges are smooth; text is drawn by its font.
"""

from __future__ import annotations

import math
import random
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sppruner_vllm.demo.vocabulary import CLUTTER, RGB

from .layout import Item

_FINE: Final = 4
_FONTS: Final = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono-Bold.ttf",
    "STIXGeneralBol.ttf",
)
HELD_OUT_DIGITS: Final = 300
"""The last so many of scikit-learn's 1,797 handwritten digits appear in held-out scenes only."""

_RIM: Final = (128, 128, 128)

Colour = tuple[int, int, int]


def draw(item: Item, *, held_out: bool) -> Image.Image:
    """The item as RGBA, exactly as large as its box.

    Args:
        held_out: draw handwritten digits from those that training never shows.
    """
    dice = random.Random(item.seed)  # noqa: S311 (a game of dice, not a secret)
    size = item.box[2:]
    if item.kind == "shape":
        return _shape(item.name, _ink(item.colour, dice), size, dice)
    if item.kind == "digit":
        return _digit(item.name, _ink(item.colour, dice), size, dice, held_out=held_out)
    if item.kind == "clutter":
        return _CLUTTER[item.name](size, dice)
    if item.kind == "bar":
        bar = Image.new("RGBA", size, (*_RIM, 255))
        bar.paste((*RGB[item.colour], 255), (2, 2, size[0] - 2, size[1] - 2))
        return bar
    return _text(item.name.upper() if dice.random() < 0.5 else item.name, size, dice)


def paper(printed: Item) -> Colour:
    """The colour of the paper that a word or a number is printed on: that of its plate."""
    dice = random.Random(printed.seed)  # noqa: S311 (a game of dice, not a secret)
    dice.random()
    return _print(dice)[1]


def _ink(colour: str, dice: random.Random) -> Colour:
    red, green, blue = (min(255, max(0, part + dice.randint(-18, 18))) for part in RGB[colour])
    return red, green, blue


def _any_colour(dice: random.Random) -> Colour:
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)


def _canvas(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    large = Image.new("RGBA", (size[0] * _FINE, size[1] * _FINE), (0, 0, 0, 0))
    return large, ImageDraw.Draw(large)


def _shape(name: str, ink: Colour, size: tuple[int, int], dice: random.Random) -> Image.Image:
    large, pen = _canvas(size)
    side = size[0] * _FINE
    middle, radius, tilt = side / 2, side / 2 - 1, dice.uniform(-0.2, 0.2)
    # White on a bright sky, or black on a dark one, would be a question without an answer.
    rim = _RIM if min(ink) > 200 or max(ink) < 60 else ink
    if name in ("circle", "ring"):
        outline = (middle - radius, middle - radius, middle + radius, middle + radius)
        if name == "circle":
            pen.ellipse(outline, fill=ink, outline=rim, width=_FINE)
        else:
            width = max(_FINE * 3, int(side * 0.2))
            pen.ellipse(outline, outline=rim, width=width)
            inner = tuple(edge + shift * _FINE for edge, shift in zip(outline, (1, 1, -1, -1), strict=True))
            pen.ellipse(inner, outline=ink, width=width - 2 * _FINE)
    else:
        pen.polygon(
            [(middle + radius * x, middle + radius * y) for x, y in _outline(name, tilt)],
            fill=ink,
            outline=rim,
            width=_FINE,
        )
    return large.resize(size, Image.Resampling.BOX)


def _outline(name: str, tilt: float) -> list[tuple[float, float]]:
    """Corners inside the unit circle."""
    if name == "star":
        return [_polar(1.0 if i % 2 == 0 else 0.42, math.pi * (i / 5 - 0.5) + tilt) for i in range(10)]
    if name == "triangle":
        return [_polar(1.0, math.pi * (2 * i / 3 - 0.5) + tilt) for i in range(3)]
    if name == "square":
        return [_polar(1.0, math.pi * (i / 2 + 0.25) + tilt / 2) for i in range(4)]
    if name == "diamond":
        return [(0.0, -1.0), (0.68, 0.0), (0.0, 1.0), (-0.68, 0.0)]
    arm = 0.3
    quarter = [(arm, -0.95), (arm, -arm), (0.95, -arm)]
    return [_turned(x, y, math.pi / 2 * turn + tilt / 2) for turn in range(4) for x, y in quarter]


def _polar(radius: float, angle: float) -> tuple[float, float]:
    return radius * math.cos(angle), radius * math.sin(angle)


def _turned(x: float, y: float, angle: float) -> tuple[float, float]:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


@lru_cache(maxsize=1)
def _handwriting() -> dict[tuple[str, bool], list[np.ndarray]]:
    """Digits of scikit-learn's set by (name, held out), (8, 8) uint8 strength of ink."""
    from sklearn.datasets import load_digits

    found = load_digits()
    border = len(found.target) - HELD_OUT_DIGITS
    groups: dict[tuple[str, bool], list[np.ndarray]] = {}
    for index, (picture, name) in enumerate(zip(found.images, found.target, strict=True)):
        ink = np.minimum(255, picture * 16).astype(np.uint8)
        groups.setdefault((str(name), index >= border), []).append(ink)
    return groups


def _digit(name: str, ink: Colour, size: tuple[int, int], dice: random.Random, *, held_out: bool) -> Image.Image:
    """A handwritten digit on a card whose brightness is far from the ink's."""
    strokes = Image.fromarray(dice.choice(_handwriting()[name, held_out])).resize(
        (size[0] - 4, size[1] - 4), Image.Resampling.BICUBIC
    )
    if not held_out:
        strokes = _as_another_hand(strokes, dice)
    card = Image.new("RGBA", size, (*_ground(ink, dice), 255))
    card.paste(
        Image.new("RGBA", strokes.size, (*ink, 255)), (2, 2), strokes.point(lambda value: min(255, value * 3 // 2))
    )
    return card


def _as_another_hand(strokes: Image.Image, dice: random.Random) -> Image.Image:
    """Slanted, turned and resized a little: 150 samples of a digit are few to learn it from."""
    across, down = (dice.uniform(0.9, 1.15) for _ in range(2))
    slant, turn = dice.uniform(-0.2, 0.2), dice.uniform(-0.15, 0.15)
    x, y = strokes.width / 2, strokes.height / 2
    map_back = (across, slant, x - across * x - slant * y, turn, down, y - turn * x - down * y)
    return strokes.transform(strokes.size, Image.Transform.AFFINE, map_back, Image.Resampling.BICUBIC)


def _ground(ink: Colour, dice: random.Random) -> Colour:
    dark = sum(ink) > 330
    low, high = (0, 60) if dark else (195, 255)
    grey = dice.randint(low, high)
    red, green, blue = (min(255, max(0, grey + dice.randint(-12, 12))) for _ in range(3))
    return red, green, blue


@lru_cache(maxsize=512)
def _font(name: str, height: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, height)


def _text(text: str, size: tuple[int, int], dice: random.Random) -> Image.Image:
    """Printed text on a plate, as large as the plate allows."""
    ink, ground = _print(dice)
    plate = Image.new("RGBA", size, (*ground, 255))
    name = dice.choice(_FONTS)
    height = size[1] - 2
    left, top, right, bottom = _font(name, height).getbbox(text)
    # Width and height grow with the font: one measurement says how much smaller it must be.
    height = max(6, int(height * min(1.0, (size[0] - 4) / (right - left), (size[1] - 4) / (bottom - top))))
    font = _font(name, height)
    left, top, right, bottom = font.getbbox(text)
    x, y = (size[0] - (right - left)) / 2 - left, (size[1] - (bottom - top)) / 2 - top
    ImageDraw.Draw(plate).text((x, y), text, font=font, fill=ink)
    return plate


def _print(dice: random.Random) -> tuple[Colour, Colour]:
    """Ink and ground of printed text."""
    low, high = dice.choice(((0, 110), (150, 255)))
    ink = dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)
    return ink, _ground(ink, dice)


def _mosaic(size: tuple[int, int], dice: random.Random) -> Image.Image:
    cells = dice.randint(3, 8)
    colours = np.random.default_rng(dice.randrange(2**31)).integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).convert("RGBA")


def _stripes(size: tuple[int, int], dice: random.Random) -> Image.Image:
    large, pen = _canvas(size)
    colours = [_any_colour(dice) for _ in range(dice.randint(2, 3))]
    width = dice.randint(4, 9) * _FINE
    lean = dice.choice((0, 1, -1)) * large.height
    for number, x in enumerate(range(-large.height, large.width + large.height, width)):
        corners = [(x, 0), (x + width, 0), (x + width + lean, large.height), (x + lean, large.height)]
        pen.polygon(corners, fill=colours[number % len(colours)])
    return large.resize(size, Image.Resampling.BOX)


def _checks(size: tuple[int, int], dice: random.Random) -> Image.Image:
    side = dice.randint(4, 10)
    rows, columns = np.indices((size[1], size[0])) // side
    pair = np.array([_any_colour(dice), _any_colour(dice)], dtype=np.uint8)
    return Image.fromarray(pair[(rows + columns) % 2]).convert("RGBA")


def _scribble(size: tuple[int, int], dice: random.Random) -> Image.Image:
    large, pen = _canvas(size)
    for _ in range(dice.randint(2, 4)):
        points = [(dice.randrange(large.width), dice.randrange(large.height)) for _ in range(dice.randint(3, 7))]
        pen.line(points, fill=_any_colour(dice), width=dice.randint(2, 4) * _FINE, joint="curve")
    return large.resize(size, Image.Resampling.BOX)


def _dots(size: tuple[int, int], dice: random.Random) -> Image.Image:
    large, pen = _canvas(size)
    for _ in range(dice.randint(12, 40)):
        x, y, radius = dice.randrange(large.width), dice.randrange(large.height), dice.randint(2, 4) * _FINE
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_any_colour(dice))
    return large.resize(size, Image.Resampling.BOX)


def _glow(size: tuple[int, int], dice: random.Random) -> Image.Image:
    corners = np.array([[_any_colour(dice) for _ in range(2)] for _ in range(2)], dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC).convert("RGBA")


_CLUTTER: Final = dict(zip(CLUTTER, (_mosaic, _stripes, _checks, _scribble, _dots, _glow), strict=True))
