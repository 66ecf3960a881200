"""How much fine detail a picture has, from its pixels alone: a page of print much, a photograph less, a flat one none.

Cheap, whatever the size of the picture: at most a thousand squares of it are looked at. docs/develop/algorithm.md,
"What a picture has to tell".
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

_COARSE: Final = 4
"""Two squares with the same 4 x 4 means, in 16 levels, are one pattern."""


def texture(image: Image.Image) -> float:
    """Detail of a picture, in [0, 1].

    The mean over squares of how dense their edges are, up to FULL; a pattern that comes again counts once.

    Args:
        image: of any mode.
    """
    squares = _squares(image)
    sharp = np.minimum(1.0, _edges(squares) / FULL)
    _, firsts = np.unique(_patterns(squares), axis=0, return_index=True)
    return round(float(sharp[firsts].sum() / len(squares)), 4)


def _squares(image: Image.Image) -> NDArray[np.uint8]:
    """(C, CELL, CELL) brightness of squares that are spread over the picture."""
    if min(image.size) < CELL:
        image = image.resize((max(CELL, image.width), max(CELL, image.height)), Image.Resampling.NEAREST)
    bright = np.asarray(image.convert("L"))
    rows, columns = bright.shape[0] // CELL, bright.shape[1] // CELL
    cut = bright[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).swapaxes(1, 2)
    looked_at = cut[:: -(-rows // MOST_SQUARES), :: -(-columns // MOST_SQUARES)]
    return np.ascontiguousarray(looked_at).reshape(-1, CELL, CELL)


def _edges(squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(C,) share of neighbours, side by side or one above the other, that differ by STEP at least."""
    levels = squares.astype(np.int16)
    across = np.abs(np.diff(levels, axis=2)) >= STEP
    down = np.abs(np.diff(levels, axis=1)) >= STEP
    counted = across.sum(axis=(1, 2)) + down.sum(axis=(1, 2))
    return np.asarray(counted / (across[0].size + down[0].size), dtype=np.float64)


def _patterns(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, 16) what a square looks like from far away."""
    side = CELL // _COARSE
    means = squares.reshape(-1, _COARSE, side, _COARSE, side).mean(axis=(2, 4))
    return np.asarray(means.reshape(-1, _COARSE**2) // 16, dtype=np.uint8)
