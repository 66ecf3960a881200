"""Arithmetic whose result does not depend on the order of a sum.

A batch pads its images, and kernels sum a padded image in another order, so ordinary floating sums would make one
image's choice depend on its neighbours in the batch. Here whatever is summed is a whole number of small steps, few
enough for the float type to hold every partial sum exactly. Ours; nothing here is specific to images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

UNIT: Final = 2000
"""Length of a direction in steps. An entry takes 11 bits, which TF32 holds, and UNIT squared stays below 2**24, so dot
products of directions are exact in float32 and under TF32: every partial sum is a whole number that Cauchy-Schwarz
bounds by the product of the lengths."""

STEPS: Final = 2**20
"""Steps per unit of a score, and per largest entry of an image's rows."""

_SUM_STEPS: Final = 2.0**30

_BLOCK: Final = 2**24
"""Entries whose squares or products are held at once on an accelerator: 64 MiB, whatever the rows take."""

_BLOCK_CPU: Final = 2**19
"""The same on a CPU: 2 MiB stay in its caches, and the allocator keeps them."""


def fixed_point(values: Tensor) -> Tensor:
    """Whole numbers in [-STEPS, STEPS], in place: each batch entry is scaled by its own largest absolute value.

    Args:
        values: (B, M, D) float32, finite; overwritten.
    """
    # Two readings of the rows take less than one copy of them.
    top = torch.maximum(values.amax((1, 2), keepdim=True), -values.amin((1, 2), keepdim=True)).clamp_min_(1e-30)
    return values.mul_(STEPS / top).round_()


def lengths(values: Tensor) -> Tensor:
    """(B, M) float64 Euclidean lengths of the rows.

    Squares and the first, fixed pairs are rounded to float32, element by element; what they leave are whole numbers
    small enough for float64 to add exactly. Widening all of it first costs three times as much on a CPU.

    Args:
        values: (B, M, D) float32 whole numbers, at most 2 * STEPS.
    """
    return _by_blocks(_sum_of_squares, values.flatten(0, 1)).sqrt_().view(values.shape[:2])


def _sum_of_squares(values: Tensor) -> Tensor:
    squares = values * values
    while squares.shape[-1] % 2 == 0 and squares.shape[-1] > 64:
        left, right = squares.chunk(2, dim=-1)
        squares = left + right
    return squares.sum(-1, dtype=torch.float64)


def row_products(left: Tensor, right: Tensor) -> Tensor:
    """(M,) float32 dot products of each row with its counterpart, exact whole numbers.

    Args:
        left, right: (M, D) from `directions`.
    """
    return _by_blocks(torch.linalg.vecdot, left, right)


def _by_blocks(function: Callable[..., Tensor], *matrices: Tensor) -> Tensor:
    """What a function makes of matrices (M, D) row by row, some rows at a time."""
    block = _BLOCK_CPU if matrices[0].device.type == "cpu" else _BLOCK
    rows = max(1, block // max(1, matrices[0].shape[1]))
    parts = [function(*part) for part in zip(*(matrix.split(rows) for matrix in matrices), strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def directions(values: Tensor, valid: Tensor | None = None, length: Tensor | None = None) -> Tensor:
    """Each row scaled to length UNIT and rounded to whole numbers, in place; zero rows and invalid rows become zero.

    Args:
        values: (B, M, D) float32 whole numbers, at most 2 * STEPS; overwritten.
        valid: (B, M) bool, or None where all rows are.
        length: (B, M) from `lengths`, or None where the caller has no need of them.
    """
    factor = UNIT / (lengths(values) if length is None else length).clamp_min(1.0)
    if valid is not None:
        factor = torch.where(valid, factor, 0.0)
    return values.mul_(factor.to(torch.float32).unsqueeze(-1)).round_()


def column_sums(values: Tensor) -> Tensor:
    """(B, 1, D) float64 sums over the rows, exact.

    Args:
        values: (B, M, D) float32 whole numbers, at most STEPS.
    """
    # Sixteen numbers of at most 2**20 fit float32's 2**24: a sixteenth of the data is left to widen to float64.
    count = values.shape[1] // 16
    groups: Tensor = values[:, : count * 16].unflatten(1, (count, 16))
    summed = groups.sum(2).sum(1, keepdim=True, dtype=torch.float64)
    if values.shape[1] > count * 16:
        summed += values[:, count * 16 :].sum(1, keepdim=True, dtype=torch.float64)
    return summed


def products(left: Tensor, right: Tensor) -> Tensor:
    """(B, L, R) float32 dot products of two stacks of directions, exact whole numbers.

    Args:
        left, right: (B, L, D) and (B, R, D) from `directions`.
    """
    return torch.bmm(left, right.transpose(1, 2))


def cosines(dots: Tensor) -> Tensor:
    """Float64 cosines in [-1, 1] from `products`, right to about 2e-4."""
    return dots.to(torch.float64).div_(UNIT**2).clamp_(-1, 1)


def total(values: Tensor, dim: int = -1, *, keepdim: bool = True) -> Tensor:
    """Sum in steps of 2**-30, exact while the absolute values sum to less than 2**23.

    Args:
        values: float64.
    """
    return values.mul(_SUM_STEPS).round_().sum(dim, keepdim=keepdim) / _SUM_STEPS


def snap(values: Tensor) -> Tensor:
    """Float64 values rounded to whole steps of 1 / STEPS; ties between equal inputs survive rounding noise."""
    return values.mul(STEPS).round_().div_(STEPS)


def steps(values: Tensor) -> Tensor:
    """Values as int64 counts of 1 / STEPS."""
    return values.mul(STEPS).round_().to(torch.int64)


def unit_range(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values scaled so that low is 0 and high is 1, clipped; all zero where low and high are one step apart or less.

    Args:
        values: (B, N) float64. low, high: (B, 1) float64.
    """
    span = high - low
    # What is divided by infinity is zero.
    return (values - low).clamp_min_(0).div_(span.masked_fill(span <= 1.5 / STEPS, torch.inf)).clamp_max_(1)


def falling(keys: Tensor) -> Tensor:
    """(B, N) int64 order of falling keys, the lower index first among equals.

    Args:
        keys: (B, N), no NaN.
    """
    return torch.sort(keys, dim=1, descending=True, stable=True).indices


def marked(order: Tensor, count: Tensor | int, places: Tensor) -> Tensor:
    """The first `count` elements of an order, (B, N) bool.

    Args:
        order: (B, M) int64, no element twice. count: (B, 1) int64 or one for all, at most M.
        places: (N,) int64, 0 to N - 1.
    """
    wanted = (places[: order.shape[1]] < count).expand_as(order)
    return torch.zeros(len(order), len(places), dtype=torch.bool, device=order.device).scatter_(1, order, wanted)
