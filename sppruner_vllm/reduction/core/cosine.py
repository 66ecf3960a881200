"""Plain cosines between rows, and between rows and query, as the comparators use them.

Exact like all of `exact.py`: they do not depend on the other images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import exact
from .batch import Batch


def plain_directions(values: Tensor) -> Tensor:
    """(B, N, D) float32 directions of rows as they are, not centred; zero rows and padding are zero.

    Args:
        values: (B, N, D), `rows` or `space` of a batch; overwritten.
    """
    return exact.directions(exact.fixed_point(values))


def text_directions(batch: Batch, text_mean: Tensor | None = None) -> Tensor:
    """(B, T, D) float32 directions of the query tokens; overwrites `batch.text`.

    Args:
        text_mean: (D,) mean of the model's text embeddings, or None to leave the query uncentred.
    """
    text = batch.text if text_mean is None else batch.text.sub_(text_mean.to(batch.text)).nan_to_num_(0.0, 0.0, 0.0)
    if not batch.spoken:
        text = text.mul_(batch.words.unsqueeze(-1))
    return exact.directions(exact.fixed_point(text))


def mean_text_cosine(units: Tensor, text: Tensor, batch: Batch) -> Tensor:
    """mean_t cos(q_t, x_n), (B, N) float64; 0 for an image without a query.

    Args:
        units: (B, N, D) directions of the rows. text: (B, T, D) from `text_directions`.
    """
    summed = exact.products(text, units).sum(1, dtype=torch.float64)
    return summed / (exact.UNIT**2 * batch.query_size.clamp_min(1))


def extremes(values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, 1) least and greatest value over the tokens of each image."""
    known = values if batch.full else torch.where(batch.real, values, values[:, :1])
    low, high = known.aminmax(dim=1, keepdim=True)
    return low, high


def min_max(values: Tensor, batch: Batch, *, flat: float) -> Tensor:
    """Values scaled to [0, 1] over each image, (B, N) float64; `flat` everywhere for an image where all are equal."""
    low, high = extremes(values, batch)
    return torch.where(high - low > 1.5 / exact.STEPS, exact.snap(exact.unit_range(values, low, high)), flat)
