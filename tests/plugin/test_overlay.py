"""Drawings of selections, by colours of their cells."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image
from sppruner_server.routes.overlay import CONTEXT, FOCUS, SIDE, as_png

LEFT, TOP, GAP = 12, 24, 12
"""Of the first panel; between two."""

SELECTION: dict[str, Any] = {
    "grid": [1, 12],
    # A view of 2 x 2 tokens and one of 2 x 3, whose lines the rows 7 and 11 end.
    "pieces": [{"grid": [2, 2], "tokens": [0, 1, 2, 3]}, {"grid": [2, 3], "tokens": [4, 5, 6, 8, 9, 10]}],
    "original": 12,
    "retained": 5,
    "kept": [1, 4, 7, 9, 11],
    "focus": [1, 9],
    "saliency": [place / 12 for place in range(12)],
    "relevance": None,
    "gate": None,
}


def drawn(picture: Image.Image | None) -> Image.Image:
    return Image.open(io.BytesIO(as_png([picture], [SELECTION]))).convert("RGB")


def colours(sheet: Image.Image, panel: int, grid: Sequence[int], height: int, inside: int = 0) -> list[tuple[int, ...]]:
    """Of the cells, row by row, of a panel 640 pixels wide: in their upper left corners, or so far inside."""
    rows, columns = grid
    places = [(column, row) for row in range(rows) for column in range(columns)]
    found = [
        sheet.getpixel(
            (LEFT + panel * (SIDE + GAP) + SIDE * column // columns + inside, TOP + height * row // rows + inside)
        )
        for column, row in places
    ]
    return [colour for colour in found if isinstance(colour, tuple)]


@pytest.mark.parametrize(("size", "height"), [((64, 64), 640), ((128, 64), 320)])
def test_each_grid_of_a_picture_is_drawn_over_the_whole_of_it(size: tuple[int, int], height: int) -> None:
    sheet = drawn(Image.new("RGB", size, "white"))
    dark = (63, 63, 63)
    assert colours(sheet, 0, (2, 2), height) == [dark, FOCUS, dark, dark]
    assert colours(sheet, 1, (2, 3), height) == [CONTEXT, dark, dark, dark, FOCUS, dark]


def test_numbers_are_drawn_by_the_same_grids() -> None:
    sheet = drawn(Image.new("RGB", (64, 64), "black"))
    assert sheet.width == 4 * (SIDE + GAP) + GAP
    for panel, piece in zip((2, 3), SELECTION["pieces"], strict=True):
        levels = [sum(colour) for colour in colours(sheet, panel, piece["grid"], 640, inside=50)]
        assert levels == sorted(set(levels))


def test_one_that_came_without_pixels_has_the_shape_of_its_finest_grid() -> None:
    assert drawn(None).height == round(640 * 2 / 3) + TOP + GAP
