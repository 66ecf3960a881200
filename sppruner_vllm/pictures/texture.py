"""How much fine detail a picture has, from its pixels alone: a page of print much, a photograph less, a flat one none.

Cheap, whatever the size of the picture: at most a thousand squares of it are looked at. docs/develop/algorithm.md,
"The detail of a picture".
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL: Final = 28
"""Pixels along a side of a square, a visual token of most models."""

MOST_SQUARES: Final = 32
"""Squares along a side that are looked at; of a larger picture every second, third and so on."""

STEP: Final = 32
"""Levels of brightness between neighbouring pixels that make an edge."""

FULL: Final = 0.10
"""Share of a square's neighbours with an edge between them from which on it counts as full of detail."""

READING: Final = 0.5
"""Detail from which on a picture counts as one to be read."""

_NEAR: Final = 8
"""Levels up to which neighbouring pixels count as alike: paper, also where it was scanned or compressed."""

_GROUND: Final = 0.4
"""Share of a square's neighbours that are alike, from which on it can be print: ink stands on paper."""

_INK: Final = 0.04
"""Share of its neighbours with an edge between them, from which on it can be: one contour has less."""

_BLANK: Final = 0.97
"""Share of its neighbours that are alike, from which on a square without edges shows nothing."""

_PRINTED: Final = 0.15
"""Share of all squares that a page has at least as print."""

_NOTHING_ELSE: Final = 0.6
"""Share of those squares that show something: a photograph's are of other kinds, too."""

_COARSE: Final = 4
"""Two squares with the same 4 x 4 means, in 16 levels, are one pattern."""


def texture(image: Image.Image) -> float:
    """Detail of a picture, in [0, 1].

    The mean over squares of how dense their edges are, up to FULL; a pattern that comes again counts once. A page of
    print has READING at least, however wide its margins are.

    Args:
        image: of any mode.
    """
    squares = _squares(image)
    edges, alike = _edges_and_ground(squares)
    sharp = np.minimum(1.0, edges / FULL)
    _, firsts = np.unique(_patterns(squares), axis=0, return_index=True)
    detail = round(float(sharp[firsts].sum() / len(squares)), 4)
    return max(detail, READING) if _is_page(edges, alike) else detail


def _is_page(edges: NDArray[np.float64], alike: NDArray[np.float64]) -> bool:
    """Whether a picture shows print and little else.

    Args:
        edges, alike: (C,) each, as `_edges_and_ground` gives them.
    """
    print_like = int(((edges >= _INK) & (alike >= _GROUND)).sum())
    shown = int(((edges > 0) | (alike < _BLANK)).sum())
    return print_like >= _PRINTED * len(edges) and print_like >= _NOTHING_ELSE * shown


def _squares(image: Image.Image) -> NDArray[np.uint8]:
    """(C, CELL, CELL) brightness of squares that are spread over the picture."""
    if min(image.size) < CELL:
        image = image.resize((max(CELL, image.width), max(CELL, image.height)), Image.Resampling.NEAREST)
    bright = np.asarray(image.convert("L"))
    rows, columns = bright.shape[0] // CELL, bright.shape[1] // CELL
    cut = bright[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).swapaxes(1, 2)
    looked_at = cut[:: -(-rows // MOST_SQUARES), :: -(-columns // MOST_SQUARES)]
    return np.ascontiguousarray(looked_at).reshape(-1, CELL, CELL)


def _edges_and_ground(squares: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) shares of neighbours, side by side or one above the other: that differ by STEP at least, that are alike."""
    levels = squares.astype(np.int16)
    steps = [np.abs(np.diff(levels, axis=axis)).reshape(len(levels), -1) for axis in (1, 2)]
    pairs = sum(one.shape[1] for one in steps)
    edges = sum((one >= STEP).sum(axis=1) for one in steps) / pairs
    alike = sum((one <= _NEAR).sum(axis=1) for one in steps) / pairs
    return np.asarray(edges, dtype=np.float64), np.asarray(alike, dtype=np.float64)


def _patterns(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, 16) what a square looks like from far away."""
    side = CELL // _COARSE
    means = squares.reshape(-1, _COARSE, side, _COARSE, side).mean(axis=(2, 4))
    return np.asarray(means.reshape(-1, _COARSE**2) // 16, dtype=np.uint8)
