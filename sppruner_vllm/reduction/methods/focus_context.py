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
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import by_priority, in_groups
from sppruner_vllm.reduction.core.types import ImageTokens, Selection
from sppruner_vllm.reduction.focus_context import context
from sppruner_vllm.reduction.focus_context.echo import echoes, far_echoes, without_echoes, without_repeats
from sppruner_vllm.reduction.focus_context.focus import focus_set, fuse
from sppruner_vllm.reduction.focus_context.params import FocusContextParams
from sppruner_vllm.reduction.focus_context.relevance import relevance
from sppruner_vllm.reduction.focus_context.saliency import centred_directions, saliency


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """Select for each image by focus, then context. The host never waits for the device.

    Args:
        images: checked images of one width and device.
        text_mean: (D,) mean text embedding, or None.
    """
    return in_groups(images, lambda batch: _select_batch(batch, text_mean, params))


def _select_batch(batch: Batch, text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    neighbours = grid.build(batch)
    units = centred_directions(batch.space, batch)
    salient = saliency(units, batch, params)
    relevant = None
    if params.relevance and batch.words.shape[1]:
        rows = units if batch.space is batch.rows else centred_directions(batch.rows, batch)
        relevant = relevance(rows, batch, neighbours, text_mean, params)
    if batch.repeats is not None and params.repeat_discount:
        salient = without_repeats(salient, batch.repeats, params.repeat_discount)
        if relevant is not None:
            value = without_repeats(relevant.value, batch.repeats, params.repeat_discount)
            relevant = replace(relevant, value=value)
    trust = torch.zeros_like(salient[:, :1]) if relevant is None else relevant.gate
    standing = salient
    if params.echo_discount and not _all_trusted(trust):
        echo = echoes(units, salient, batch, neighbours)
        if params.echo_far:
            first = without_echoes(salient, echo, torch.zeros_like(trust), params.echo_discount)
            echo = torch.maximum(echo, params.echo_far * far_echoes(units, first, batch, params))
        standing = without_echoes(salient, echo, trust, params.echo_discount)
    fused = fuse(standing, relevant, params)
    focus = focus_set(fused, standing, trust, batch, neighbours, params)

    weight = context.weights(standing, focus, trust, neighbours, params)
    score = exact.snap(weight * (1 + fused) / 2)
    key = batch.keys(score)
    placed = context.quota(key, focus, batch, params)
    taken = focus | placed
    runs = context.scan(
        key, weight, taken, (batch.budget - taken.sum(1, keepdim=True)).clamp_min_(0), batch, params.curve
    )

    # The parts in order of priority; within one the score decides. What no part took fills up the budget by score.
    tier = focus * 3 + placed * 2 + runs
    within = torch.where(focus, fused, score).clamp_max(1 - 1 / exact.STEPS)
    shown = None if relevant is None else relevant.value * (relevant.gate > 0)
    priority = tier + within
    return by_priority(batch, priority, key=batch.keys(priority), focus=focus, saliency=salient, relevance=shown)


def _all_trusted(trust: Tensor) -> bool:
    """Whether no echo would be discounted. Not asked of an accelerator, for the host would wait for the answer.

    Args:
        trust: (B, 1) in [0, 1].
    """
    return trust.device.type == "cpu" and bool((trust >= 1).all())


METHOD: Final = Method(
    "focus_context",
    select=select,
    needs={"query", "attention"},
    options={"merger_input"},
    constants=FocusContextParams(),
)
