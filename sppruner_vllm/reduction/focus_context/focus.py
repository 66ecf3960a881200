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


def fuse(salient: Tensor, relevant: Relevance | None, params: FocusContextParams) -> Tensor:
    """phi = s' * ((eps + r) / (eps + 1)) ** (gate * alpha) with s' = s + gate * eps * (1 - s).

    Multiplying after min-max is SIEVE's finding and the gated exponent that of docs/develop/algorithm.md; s' is ours:
    it leaves a plain thing that the question names (a sky, a wall) a chance. A shut gate gives phi = s exactly.

    Args:
        salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    if relevant is None:
        return salient
    eps, gate = params.relevance_floor, relevant.gate
    lifted = salient + gate * eps * (1 - salient)
    return exact.snap(lifted * ((eps + relevant.value) / (eps + 1)) ** (gate * params.relevance_power))


def focus_cap(budget: int, params: FocusContextParams) -> int:
    """Most tokens of a budget that the focus set may take under a trusted query, at least 1."""
    return max(1, int(budget * params.focus_cap))


def focus_set(
    fused: Tensor, salient: Tensor, trust: Tensor, batch: Batch, neighbours: Neighbours, params: FocusContextParams
) -> Tensor:
    """As many tokens as the fewest that hold `focus_mass` of phi (after FSR), at most the cap.

    Peaks of phi come first and its other high tokens after them (ours), so that of several things that the query means
    each is seen before any is seen whole. A share is chosen by saliency alone (ours): the union guard, for SPpruner's
    abstract asks for the whole spectrum of visual subjects and not only the one that the query names. Tokens without
    mass are never focus, so a blank image has no focus. Without a trusted query nothing is near what was asked, and
    the cap gives way to `blind_cap`.

    Args:
        fused, salient: (B, N) float64 in [0, 1], in whole steps of 1 / `exact.STEPS`: their sums are exact.
        trust: (B, 1) float64 in [0, 1].

    Returns:
        (B, N) bool.
    """
    share = params.focus_cap + (1 - trust) * (params.blind_cap - params.focus_cap)
    caps = (batch.budget * share).floor_().clamp_min_(1)
    most = max(1, int(max(image.budget for image in batch.images) * max(params.focus_cap, params.blind_cap)))
    mass = batch.within(fused, 0.0)
    ordered = mass.topk(most, dim=1).values
    before = ordered.cumsum(1) - ordered
    needed = before < mass.sum(1, keepdim=True) * params.focus_mass
    count = needed.sum(1, keepdim=True, dtype=torch.float64).minimum(caps)
    reserved = (count * params.union_share).floor()
    first = torch.add(mass, peaks(mass, batch, neighbours, params), alpha=2)
    named = batch.highest(first, count - reserved, most) & (mass > 0)
    open_to_guard = batch.within(salient > 0, False) & ~named
    standing = torch.where(open_to_guard, salient, -1.0)
    guarded = batch.highest(standing, reserved, int(most * params.union_share))
    return named | (open_to_guard & guarded)


def peaks(mass: Tensor, batch: Batch, neighbours: Neighbours, params: FocusContextParams) -> Tensor:
    """Tokens that no neighbour exceeds and that reach `peak_floor` of the highest, the lower index among equals.

    Args:
        mass: (B, N) float64 in whole steps, not negative.

    Returns:
        (B, N) bool; none with a floor above 1.
    """
    key = batch.keys(mass)
    high = mass >= mass.amax(1, keepdim=True) * params.peak_floor
    return high & (mass > 0) & (key == neighbours.window(key).amax(1))
