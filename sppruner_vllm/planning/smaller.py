"""A smaller image in place of fewer rows: the token grid it gets, and the resampling.

Used in the API process, before vLLM's own image processor, which leaves alone an image whose sides are whole visual
tokens. Plain arithmetic and Pillow, no vLLM. docs/develop/architecture.md, "A smaller image".
"""

from __future__ import annotations

import math
from typing import Final

from PIL import Image

Grid = tuple[int, int]
"""(height, width) in visual tokens."""

MOST_STRETCH: Final = 1.5
"""Furthest that one side may shrink beyond the other for the sake of a budget used up, where there is a choice."""

MOST_ASPECT: Final = 200
"""Longest side over shortest: transformers' `smart_resize` refuses more."""


def smaller_grid(grid: Grid, budget: int, least: int) -> Grid:
    """The token grid of the best smaller image within a budget.

    Small print is lost along the side that shrinks most, so that side decides; among equals the grid with most tokens
    wins, unless it distorts the image beyond MOST_STRETCH.

    Args:
        grid: of the image as sent; neither side grows.
        budget: most tokens, at least 1.
        least: fewest tokens, which wins over the budget: the image processor would enlarge a smaller image again.

    Returns:
        `grid` itself when nothing smaller has `least` tokens.
    """
    height, width = grid
    fitting: list[Grid] = []
    for rows in range(1, height + 1):
        most = min(width, budget // rows, MOST_ASPECT * rows)
        undistorted = int(MOST_STRETCH * rows * width / height)
        fitting += [(rows, columns) for columns in {most, min(most, undistorted)} if _allowed(rows, columns, least)]
    if fitting:
        return max(fitting, key=lambda smaller: _merit(smaller, grid))
    beyond = [(rows, -(-least // rows)) for rows in range(1, height + 1)]
    beyond = [smaller for smaller in beyond if smaller[1] <= width and _allowed(*smaller, least)]
    return min(beyond, key=lambda smaller: (math.prod(smaller), -_finest(smaller, grid)), default=grid)


def _allowed(rows: int, columns: int, least: int) -> bool:
    return columns > 0 and rows * columns >= least and max(rows, columns) <= MOST_ASPECT * min(rows, columns)


def _finest(smaller: Grid, grid: Grid) -> float:
    """Scale of the side that shrinks most, in (0, 1]."""
    return min(smaller[0] / grid[0], smaller[1] / grid[1])


def _merit(smaller: Grid, grid: Grid) -> tuple[float, bool, int]:
    finest, other = sorted((smaller[0] / grid[0], smaller[1] / grid[1]))
    return finest, other <= MOST_STRETCH * finest, math.prod(smaller)


def resize(image: Image.Image, grid: Grid, cell: int) -> Image.Image:
    """The image at exactly the size of a token grid, in RGB.

    Args:
        image: any mode; converted as the image processor would.
        grid: (height, width) in visual tokens.
        cell: pixels along a side of a visual token.
    """
    rows, columns = grid
    return image.convert("RGB").resize((columns * cell, rows * cell), Image.Resampling.LANCZOS)
