"""Comparator `coverage`: facility location, each token spoken for by its most similar kept one, after EADP (ECCV 2026).

With a question, EADP's text weighting says whose being spoken for counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import batch as batches
from sppruner_vllm.reduction.core import exact, grid
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.cosine import min_max, plain_directions, text_directions
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.params import QueryParams
from sppruner_vllm.reduction.core.ranking import by_picks, first_best
from sppruner_vllm.reduction.core.types import ImageTokens, Selection
from sppruner_vllm.reduction.focus_context.params import WordParams
from sppruner_vllm.reduction.focus_context.relevance import narrowing, word_weights

_TEMPERATURE: Final = 0.01
_WORDS: Final = WordParams(text_keep=0.2, text_gamma=0.01)
_GLOBAL_SHARE: Final = 0.5
"""EADP's constants, those of its evaluation on Qwen (SJTU-DeepVisionLab/EADP)."""

_WEIGHT_STEPS: Final = 2.0**12
"""Steps per unit of a weight. A gain is at most 2**21 steps; weighed and summed over 2**18 tokens it stays exact."""


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: QueryParams) -> list[Selection]:
    """Greedy maximum of f(S) = sum_n w_n max_{m in S} sim(n, m), sim = (1 + cos) / 2 of the rows, not centred.

    Without a query, or with `params.relevance` off, w = 1. With one, w is EADP's (`text_weights`): that is the method
    as published, so the one to be measured against; whether the weighting helps shows when the query is left out.

    O(N^2) memory and O(N^2 * K) time, so images go one by one.
    """
    return [_select_one(batches.pad([image]), params) for image in images]


def text_weights(units: Tensor, batch: Batch) -> Tensor:
    """w = smooth(minmax(c_n / 2 + sum_t a_t cos(q_t, x_n) / 2)), (B, N) float64 in [0, 1].

    c_n is the cosine to the mean query embedding; a = softmax(-H_t / 0.01) over the 20 % of query tokens (at least one)
    with the lowest entropy H_t of softmax_n(cos / 0.01); the smoothing is a 3 x 3 Gaussian. **The sign is positive**,
    as in `dpp`: what resembles the question counts more. EADP's code for Qwen negates both cosines.

    Args:
        units: (B, N, D) directions of the rows.
    """
    text = text_directions(batch)
    mean = (text.sum(1, keepdim=True, dtype=torch.float64) / batch.query_size.clamp_min(1).unsqueeze(-1)).round_()
    whole = exact.directions(mean.to(torch.float32), batch.query_size > 0)
    overall = exact.cosines(exact.products(whole, units)).squeeze(1)
    cosines = exact.cosines(exact.products(text, units))
    words = word_weights(narrowing(cosines / _TEMPERATURE, batch), batch, _WORDS)
    named = exact.total(words.unsqueeze(-1) * cosines, 1, keepdim=False)
    scaled = min_max(_GLOBAL_SHARE * overall + (1 - _GLOBAL_SHARE) * named, batch, flat=1.0)
    return grid.smooth(torch.where(batch.real, scaled, 0.0), grid.build(batch)).clamp_(0, 1)


def _select_one(batch: Batch, params: QueryParams) -> Selection:
    units = plain_directions(batch.space)
    asked = params.relevance and batch.words.shape[1] > 0
    rows = units if batch.space is batch.rows or not asked else plain_directions(batch.rows)
    weight = text_weights(rows, batch) if asked else batch.real.to(torch.float64)
    return by_picks(batch, _picks(units, weight, batch), relevance=weight if asked else None)[0]


def _picks(units: Tensor, weight: Tensor, batch: Batch) -> list[Tensor]:
    demand = torch.where(batch.real, weight, 0.0).mul_(_WEIGHT_STEPS).round_().unsqueeze(1)
    alike = _likeness(units)
    covered = torch.full_like(alike[:, :, :1], -exact.STEPS)
    open_tokens = batch.real.clone()
    picks = []
    for _ in range(batch.images[0].budget):
        gain = torch.bmm(demand, (alike - covered).clamp_min_(0.0)).squeeze(1)
        picks.append(first_best(gain, open_tokens))
        chosen = alike.gather(2, picks[-1].unsqueeze(1).expand(-1, alike.shape[1], 1))
        covered = torch.maximum(covered, chosen)
    return picks


def _likeness(units: Tensor) -> Tensor:
    """(B, N, N) float64 cosines in whole steps, which differ from 2 * sim - 1 by their unit only.

    Divided by its true length, a direction's rounding does not show on the diagonal: two that cover each other tie.
    """
    inverse = exact.lengths(units).clamp_min_(1.0).reciprocal_()
    scale = inverse.unsqueeze(1) * inverse.unsqueeze(2)
    return scale.mul_(exact.products(units, units)).mul_(exact.STEPS).round_()


METHOD: Final = Method("coverage", select=select, needs={"query"}, options={"merger_input"}, constants=QueryParams())
