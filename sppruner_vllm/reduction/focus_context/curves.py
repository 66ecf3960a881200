"""Orders in which to walk a grid of tokens.

Neighbours on a space-filling curve are neighbours in the image, so a run along it is a patch and one pass over a line
covers the plane. Computed on the host once per grid shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from .params import CurveName


@lru_cache(maxsize=256)
def curve(name: CurveName, height: int, width: int) -> Tensor:
    """(height * width,) int64 on the CPU: raster indices in walking order. Shared by all callers; do not write to it.

    hilbert: a Hilbert curve generalised to any rectangle. Every step goes to an edge-sharing neighbour, except one
        diagonal step at most where parity allows no such walk (long side odd, short side even).
    boustrophedon: row by row, every other row backwards; every step goes to an edge-sharing neighbour.
    raster: row by row; jumps at each row's end.
    """
    index = torch.arange(height * width, device="cpu").view(height, width)
    if name == "raster":
        return index.flatten()
    if name == "boustrophedon":
        index[1::2] = index[1::2].flip(1)
        return index.flatten()
    start, along, across = ((0, 0), (0, width), (height, 0)) if width >= height else ((0, 0), (height, 0), (0, width))
    return torch.tensor([row * width + column for row, column in _hilbert(start, along, across)], device="cpu")


_Vector = tuple[int, int]


def _hilbert(start: _Vector, along: _Vector, across: _Vector) -> Iterator[_Vector]:
    """Walk the rectangle spanned by two axis-parallel sides, from `start` to the other end of side `along`.

    The rectangle is cut in two across a long side, or in three pieces (up, over, down) that each are walked the same
    way; cuts are moved to even lengths because an even piece can be left at the corner where the next one begins.
    Idea: J. Cerveny, "generalized Hilbert curve for rectangular domains of arbitrary size".
    """
    length, depth = abs(sum(along)), abs(sum(across))
    step, side = _sign(along), _sign(across)
    if depth == 1 or length == 1:
        count, move = (length, step) if depth == 1 else (depth, side)
        yield from (_add(start, move, i) for i in range(count))
        return
    half, half_depth = length // 2, depth // 2
    if 2 * length > 3 * depth:
        half += half % 2 if length > 2 else 0
        yield from _hilbert(start, _times(step, half), across)
        yield from _hilbert(_add(start, step, half), _times(step, length - half), across)
        return
    half_depth += half_depth % 2 if depth > 2 else 0
    yield from _hilbert(start, _times(side, half_depth), _times(step, half))
    yield from _hilbert(_add(start, side, half_depth), along, _times(side, depth - half_depth))
    corner = _add(_add(start, step, length - 1), side, half_depth - 1)
    yield from _hilbert(corner, _times(side, -half_depth), _times(step, half - length))


def _sign(vector: _Vector) -> _Vector:
    return (vector[0] > 0) - (vector[0] < 0), (vector[1] > 0) - (vector[1] < 0)


def _times(vector: _Vector, factor: int) -> _Vector:
    return vector[0] * factor, vector[1] * factor


def _add(point: _Vector, direction: _Vector, count: int) -> _Vector:
    return point[0] + direction[0] * count, point[1] + direction[1] * count
