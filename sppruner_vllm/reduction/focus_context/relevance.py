"""Relevance: where in the image the question points, and whether to believe it.

Text embeddings and visual rows of a language model are only loosely aligned; plain text-to-image cosine often hurts. So
only the query tokens that single something out are heard, and a gate shuts relevance off when it looks like noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact, grid
from sppruner_vllm.reduction.core.batch import Batch, by_states, per_image
from sppruner_vllm.reduction.core.cosine import extremes, text_directions
from sppruner_vllm.reduction.core.ranking import rows_of

from .params import FocusContextParams, WordParams

_RANDOM: Final = 0.5
"""Nats by which a random direction narrows an image down, see `narrowing`."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """Relevance of a batch and how far to trust it.

    value: (B, N) float64 in [0, 1], zero in padding; meaningless where the gate is 0.
    gate: (B, 1) float64 in [0, 1]; 0 for an image without a query.
    """

    value: Tensor
    gate: Tensor


def relevance(
    units: Tensor, batch: Batch, neighbours: grid.Neighbours, text_mean: Tensor | None, params: FocusContextParams
) -> Relevance:
    """Relevance of each token to the query, or to the states where these are more to be trusted, and its reliability.

    Args:
        units: (B, N, D) centred directions of the rows.
        batch: with at least one token of a query or of states somewhere; overwrites `batch.text`.
        neighbours: of the batch.
        text_mean: (D,) mean of the model's text embeddings, or None to leave the query uncentred.
    """
    raw, gate = _heard(units, batch, neighbours, text_mean, params)
    if (read := by_states(batch)) is not None:
        other, trust = _heard(units, read, neighbours, None, params.for_states)
        raw, gate = torch.where(trust > gate, other, raw), torch.maximum(trust, gate)
    if params.smoothing:
        raw = exact.snap(grid.smooth(batch.within(raw, 0.0), neighbours))
    low, high = extremes(raw, batch)
    return Relevance(batch.within(exact.snap(exact.unit_range(raw, low, high)), 0.0), gate)


def _heard(
    units: Tensor, batch: Batch, neighbours: grid.Neighbours, text_mean: Tensor | None, params: FocusContextParams
) -> tuple[Tensor, Tensor]:
    """Relevance of each token to the query before it is smoothed, (B, N) float64, and its gate, (B, 1)."""
    heard = (batch.query_size > 0).to(torch.float64)
    if not batch.words.shape[1]:
        return torch.zeros_like(batch.real, dtype=torch.float64), heard
    text = text_directions(batch, text_mean)
    # In units of 1 / sqrt(D) a random direction has cosines of unit spread, whatever the width of the model.
    scores = exact.cosines(exact.products(text, units)).mul_(units.shape[-1] ** 0.5 / params.temperature)
    deficit = narrowing(scores, batch)
    weight = word_weights(deficit, batch, params)
    raw = soft_maximum(scores, weight, max(kept_words(batch, params)))
    if not params.gate:
        return raw, heard
    low, high = extremes(raw, batch)
    rough = exact.snap(exact.unit_range(raw, low, high))
    if params.gate_contrast:
        deficit = deficit - (narrowing(-scores, batch) - _RANDOM).clamp_min_(0.0)
    concentration = _ramp(exact.total(weight * deficit), params.gate_concentration)
    coherence = _ramp(grid.morans_i(rough, batch, neighbours), params.gate_coherence)
    return raw, exact.snap(concentration * coherence * heard)


def narrowing(scores: Tensor, batch: Batch) -> Tensor:
    """log n - H per query token, H the entropy of its softmax over the image (EADP ranks query tokens by H).

    exp(-narrowing) is the share of the image the token looks at. A random direction gives about 0.5 nats, because its
    scores are normal with unit spread and log E exp(z) - E z exp(z) / E exp(z) is then -1/2.

    Args:
        scores: (B, T, N) float64.

    Returns:
        (B, T) float64, in nats, never negative; 0 for padding.
    """
    shifted = scores - batch.within(scores, -torch.inf).amax(-1, keepdim=True)
    mass = batch.within(shifted.exp(), 0.0)
    partition = exact.total(mass, keepdim=False)
    entropy = partition.log() - exact.total(mass * shifted, keepdim=False) / partition
    deficit = exact.snap(batch.size.to(torch.float64).log() - entropy).clamp_min_(0.0)
    return deficit if batch.spoken else torch.where(batch.words, deficit, 0.0)


def kept_words(batch: Batch, params: WordParams) -> list[int]:
    """How many query tokens of each image have a weight; 1 for an image without a query, whose weights are zero."""
    return [max(1, math.ceil(image.words * params.text_keep)) for image in batch.images]


def word_weights(deficit: Tensor, batch: Batch, params: WordParams) -> Tensor:
    """Weights of the query tokens: the lowest-entropy share, softmax(-H / gamma) among them (EADP); the rest weigh 0.

    Args:
        deficit: (B, T) from `narrowing`; -H up to a constant.

    Returns:
        (B, T) float64, sums to 1, or to 0 for an image without a query.
    """
    keys = deficit if batch.spoken else torch.where(batch.words, deficit, -1.0)
    counts = kept_words(batch, params)
    places = torch.arange(keys.shape[1], device=keys.device)
    kept = exact.marked(exact.falling(keys), per_image(counts, keys.device), places)
    if not batch.spoken:
        kept = kept & batch.words
    best = keys.amax(1, keepdim=True)
    weight = torch.where(kept, torch.exp((deficit - best) / params.text_gamma), 0.0)
    return weight / exact.total(weight).clamp_min(1e-9)


def soft_maximum(scores: Tensor, weight: Tensor, most: int) -> Tensor:
    """log sum_t w_t exp(z_tn): near the best of the query tokens, not their mean, so that each named thing counts.

    MMTok covers the query token by token for the same reason; the log-sum-exp form is ours.

    Args:
        scores: (B, T, N) float64. weight: (B, T) float64. most: no more query tokens than these have a weight.

    Returns:
        (B, N) float64.
    """
    weights, heard = weight.unsqueeze(-1).topk(most, dim=1)
    scores = rows_of(scores, heard.squeeze(-1))
    peak = scores.masked_fill(weights <= 0, -torch.inf).amax(1, keepdim=True)
    peak = torch.where(peak.isinf(), 0.0, peak)
    summed = exact.total(weights * (scores - peak).clamp_max(0.0).exp(), 1)
    return exact.snap((peak + summed.clamp_min(2.0**-30).log()).squeeze(1))


def _ramp(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    return ((values - bounds[0]) / (bounds[1] - bounds[0])).clamp_(0, 1)
