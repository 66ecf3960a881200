"""The focus-then-context selection from end to end.

Implements the paradigm of SPpruner's abstract with formulas of our own and of the papers named beside them; SPpruner's
own formulas are not public. See docs/develop/algorithm.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact, grid
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import by_priority, in_groups
from sppruner_vllm.reduction.core.types import ImageTokens, Selection
from sppruner_vllm.reduction.focus_context import context
from sppruner_vllm.reduction.focus_context.echo import blind_standing, without_repeats
from sppruner_vllm.reduction.focus_context.focus import focus_set, fuse
from sppruner_vllm.reduction.focus_context.params import FocusContextParams
from sppruner_vllm.reduction.focus_context.rarity import rarity
from sppruner_vllm.reduction.focus_context.relevance import relevance
from sppruner_vllm.reduction.focus_context.saliency import saliency


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """Select for each image by focus, then context. The host never waits for the device.

    Args:
        images: checked images of one width and device.
        text_mean: (D,) mean text embedding, or None.
    """
    return in_groups(images, lambda batch: _select_batch(batch, text_mean, params))


def _select_batch(batch: Batch, text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    neighbours = grid.build(batch)
    tokens = centre(batch.space, batch)
    salient = saliency(rarity(tokens, batch), batch, params)
    relevant = None
    if params.relevance and any(image.asked for image in batch.images):
        rows = tokens if batch.space is batch.rows else centre(batch.rows, batch)
        relevant = relevance(rows.units, batch, neighbours, text_mean, params)
    if batch.repeats is not None and params.repeat_discount:
        salient = without_repeats(salient, batch.repeats, params.repeat_discount)
        if relevant is not None:
            value = without_repeats(relevant.value, batch.repeats, params.repeat_discount)
            relevant = replace(relevant, value=value)
    blind = blind_standing(tokens.units, salient, batch, neighbours, params)
    fused = fuse(blind, relevant, neighbours, params)
    claim, focus = focus_set(fused, batch, params)

    weight = context.weights(blind, params)
    score = exact.snap(weight * (1 + fused) / 2)
    key = batch.keys(score)
    placed = context.quota(key, claim, batch, params)
    taken = claim | placed
    runs = context.scan(
        key, weight, taken, (batch.budget - taken.sum(1, keepdim=True)).clamp_min_(0), batch, params.curve
    )

    # The parts in order of priority; within one the score decides. What no part took fills up the budget by score. A
    # region that would go blind comes before the last of what has a claim.
    tier = placed * 3 + claim * 2 + runs
    within = torch.where(claim, fused, score).clamp_max(1 - 1 / exact.STEPS)
    shown = None if relevant is None else relevant.value * (relevant.gate > 0)
    priority = tier + within
    return by_priority(batch, priority, key=batch.keys(priority), focus=focus, saliency=salient, relevance=shown)


METHOD: Final = Method(
    "focus_context",
    select=select,
    needs={"query", "attention"},
    options={"merger_input", "states"},
    constants=FocusContextParams(),
)
