"""Rows of an image as its mean and what each of them is beside it.

Visual rows share a large common offset which would dominate every cosine (Cen-Prune centres them for that reason).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import exact
from .batch import Batch


@dataclass(frozen=True, slots=True)
class Centred:
    """Rows of a batch, taken apart: x_n = mean + length_n * unit_n.

    units: (B, N, D) float32 directions; zero for rows at the mean and in padding.
    lengths: (B, N) float64, in steps of `exact.fixed_point`; meaningless in padding.
    mean: (B, 1, D) float32, in the same steps.
    """

    units: Tensor
    lengths: Tensor
    mean: Tensor


def centre(values: Tensor, batch: Batch) -> Centred:
    """Directions of rows minus their image's mean, and what it takes to have the rows back.

    Args:
        values: (B, N, D), `rows` or `space` of the batch; overwritten.
    """
    rows = exact.fixed_point(values)
    mean = (exact.column_sums(rows) / batch.size.unsqueeze(-1)).round_().to(torch.float32)
    lengths = exact.lengths(rows.sub_(mean))
    return Centred(exact.directions(rows, None if batch.full else batch.real, lengths), lengths, mean)
