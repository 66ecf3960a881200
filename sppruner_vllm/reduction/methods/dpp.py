"""Comparator `dpp`: a determinantal point process conditioned on the question, after CDPruner (NeurIPS 2025).

Picks tokens that span the largest volume, each row as long as it is relevant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.cosine import mean_text_cosine, min_max, plain_directions, text_directions
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.params import QueryParams
from sppruner_vllm.reduction.core.ranking import by_picks, first_best, in_groups, rows_of
from sppruner_vllm.reduction.core.types import ImageTokens, Selection

_STEPS: Final = 2.0**26
"""Steps per unit of the Cholesky rows. Their columns are no longer than about 1, so by Cauchy-Schwarz every partial sum
of a dot product is a whole number below 2**53 that float64 holds: the sums do not depend on their order."""

_SPENT: Final = 1e-5
"""Volume below which a token counts as a combination of the picks; under it rounding would decide."""


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: QueryParams) -> list[Selection]:
    """Greedy MAP of the DPP with kernel L = diag(r) S diag(r), S_nm = cos(x_n, x_m): each pick maximises det L_S.

    r_n = mean_t cos(q_t, x_n), min-max scaled over the image to [1e-6, 1]; nothing centred. **The sign is positive**:
    what resembles the question is preferred, as OpenVINO GenAI does it for Qwen. CDPruner's own code (CLIP space) and
    EADP's port of it to Qwen negate the cosine; which sign means "relevant" in the space of a language model is not
    settled in print.

    Without a query, or with `params.relevance` off, r = 1 and the DPP is unconditional. Once the picks span all rows,
    the rest follows by L_nn, the lower index first.
    """

    def choose(batch: Batch) -> list[Selection]:
        units = plain_directions(batch.space)
        if not params.relevance or not batch.words.shape[1]:
            return by_picks(batch, _picks(units, torch.ones(batch.real.shape, device=units.device), batch))
        rows = units if batch.space is batch.rows else plain_directions(batch.rows)
        relevant = min_max(mean_text_cosine(rows, text_directions(batch), batch), batch, flat=1.0)
        return by_picks(batch, _picks(units, relevant.clamp_min(1e-6), batch), relevance=relevant)

    return in_groups(images, choose)


def _picks(units: Tensor, quality: Tensor, batch: Batch) -> list[Tensor]:
    """Greedy MAP by an incremental Cholesky decomposition (Chen, Zhang and Zhou, NeurIPS 2018), O(N * K * (D + K)).

    Args:
        quality: (B, N), r.
    """
    steps = max(image.budget for image in batch.images)
    quality = quality.to(torch.float64)
    length = exact.lengths(units)
    # Divided by its true length, a direction's rounding does not show in the diagonal: equal r tie.
    scale = torch.where(length > 0, quality / length.clamp_min(1.0), 0.0)
    volume = torch.where(length > 0, quality.square(), 0.0)
    left, open_tokens = volume, batch.real.clone()
    rows = torch.zeros(len(batch.images), steps, units.shape[1], dtype=torch.float64, device=units.device)
    picks = []
    for step in range(steps):
        pick = first_best(torch.where(left > _SPENT, left, _SPENT * volume), open_tokens)
        picks.append(pick)
        kernel = exact.products(rows_of(units, pick), units).squeeze(1) * scale * scale.gather(1, pick)
        known = rows[:, :step]
        spanned = torch.bmm(known.gather(2, pick.unsqueeze(1).expand(-1, step, 1)).transpose(1, 2), known).squeeze(1)
        size = left.gather(1, pick)
        row = (kernel - spanned / _STEPS**2) / size.clamp_min(_SPENT).sqrt()
        rows[:, step] = torch.where(size > _SPENT, row, 0.0).mul_(_STEPS).round_()
        left = (left - (rows[:, step] / _STEPS).square_()).clamp_min_(0.0)
    return picks


METHOD: Final = Method("dpp", select=select, needs={"query"}, options={"merger_input"}, constants=QueryParams())
