"""Focus: which visual tokens are the subject of this image, for this question.

Saliency says what stands out, relevance what the question is about, and the gate how far to believe relevance. Formulas
and sources: docs/develop/algorithm.md, "Focus".
"""

from __future__ import annotations

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.grid import Neighbours

from .params import FocusContextParams
from .relevance import Relevance


def fuse(blind: Tensor, relevant: Relevance | None, neighbours: Neighbours, params: FocusContextParams) -> Tensor:
    """phi = (b * (1 + gate * beta * near) + gate * lambda * m) / (1 + beta + lambda), with m = r ** alpha (ours).

    Relevance adds to what a token stands for without a question and takes nothing from the others, so that a question
    about something else costs no more than the tokens that it points at. Of what it names all tokens count, whether
    they stand out or not. The power leaves it to those tokens that match the question about as well as the best. Near
    is the largest m within two tokens: the surroundings of what is named, by what they stand for themselves.

    Args:
        blind: (B, N) float64 in [0, 1], the standing without a question.

    Returns:
        (B, N) float64 in [0, 1]; a shut gate gives what no query gives, exactly.
    """
    most = 1 + params.surroundings + params.relevance_weight
    if relevant is None:
        return exact.snap(blind / most)
    match = relevant.value**params.relevance_power
    lifted = params.relevance_weight * match
    if params.surroundings:
        near = neighbours.window(neighbours.window(match).amax(1)).amax(1)
        lifted = lifted + params.surroundings * near * blind
    return exact.snap((blind + relevant.gate * lifted) / most)


def focus_set(fused: Tensor, batch: Batch, params: FocusContextParams) -> tuple[Tensor, Tensor]:
    """What has a claim to the budget, and the part of it that is the focus.

    The fewest tokens that hold `focus_mass` of phi (after FSR), the highest first, at most what the scan leaves of the
    budget. The first of them, up to `focus_cap` of the budget, are the focus, the others come first in the context.
    Tokens without mass have no claim, so a blank image has no focus.

    Args:
        fused: (B, N) float64 in [0, 1], in whole steps of 1 / `exact.STEPS`: its sums are exact.

    Returns:
        Two (B, N) bool, the second within the first.
    """
    most = max(1, int(max(image.budget for image in batch.images) * (1 - params.scan_share)))
    mass = batch.within(fused, 0.0)
    order = batch.keys(mass).topk(most, dim=1).indices
    ordered = mass.gather(1, order)
    before = ordered.cumsum(1) - ordered
    needed = (before < mass.sum(1, keepdim=True) * params.focus_mass) & (ordered > 0)
    place = batch.index[:most]
    none = torch.zeros_like(batch.real)
    claim, focus = (
        none.scatter(1, order, needed & (place < (batch.budget * share).floor_().clamp_min_(1)))
        for share in (1 - params.scan_share, min(params.focus_cap, 1 - params.scan_share))
    )
    return claim, focus
