"""Saliency: what stands out in this image, whatever is asked.

From the encoder's rows alone, so no attention map has to be captured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import exact
from .batch import Batch


def centred_directions(batch: Batch) -> Tensor:
    """(B, N, D) float32 directions of the rows minus their image's mean; rows at the mean and padding are zero.

    Visual rows share a large common offset which would dominate every cosine (Cen-Prune centres them for that reason).
    Overwrites `batch.rows`.
    """
    rows = exact.fixed_point(batch.rows)
    mean = (exact.column_sums(rows) / batch.size.unsqueeze(-1)).round_()
    return exact.directions(rows.sub_(mean.to(torch.float32)), batch.real)


def distinctiveness(units: Tensor, batch: Batch) -> Tensor:
    """g_i = -mean_j cos(x_i, x_j) over the centred rows of an image (Cen-Prune), (B, N) float64 in [-1, 1].

    Equal to minus the dot product of a row's direction with the mean direction, so it costs O(N * D).

    Args:
        units: (B, N, D) from `centred_directions`.
    """
    mean = exact.column_sums(units) / (exact.UNIT * batch.size.unsqueeze(-1))
    mean = mean.mul_(exact.STEPS).round_().to(torch.float32)
    length = exact.lengths(mean) / exact.STEPS
    common = exact.directions(mean, torch.ones_like(length, dtype=torch.bool))
    return exact.snap(-exact.cosines(exact.products(units, common)).squeeze(-1) * length)


def saliency(units: Tensor, batch: Batch, clip: float) -> Tensor:
    """Distinctiveness clipped at its outer ranks and scaled to [0, 1] (register-like outliers are damped that way).

    Args:
        units: (B, N, D) from `centred_directions`.
        clip: share of tokens clipped at either end.

    Returns:
        (B, N) float64; all zero for an image without contrast, zero in padding.
    """
    raw = distinctiveness(units, batch)
    ordered = torch.where(batch.real, raw, torch.inf).sort(dim=1).values
    skipped = ((batch.size - 1).to(torch.float64) * clip).floor().to(torch.int64)
    low, high = ordered.gather(1, skipped), ordered.gather(1, batch.size - 1 - skipped)
    return torch.where(batch.real, exact.snap(exact.unit_range(raw, low, high)), 0.0)
