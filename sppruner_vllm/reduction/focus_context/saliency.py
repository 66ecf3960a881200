"""Saliency: what stands out in this image, whatever is asked.

From the encoder's rows alone, so no attention map has to be captured; where a host does capture one, it has its say.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch, columns

from .params import SaliencyParams


def distinctiveness(units: Tensor, batch: Batch) -> Tensor:
    """g_i = -mean_j cos(x_i, x_j) over the centred rows of an image (Cen-Prune), (B, N) float64 in [-1, 1].

    Equal to minus the dot product of a row's direction with the mean direction, so it costs O(N * D).

    Args:
        units: (B, N, D) from `centre`.
    """
    mean = exact.column_sums(units) / (exact.UNIT * batch.size.unsqueeze(-1))
    mean = mean.mul_(exact.STEPS).round_().to(torch.float32)
    length = exact.lengths(mean)
    common = exact.directions(mean, length=length)
    return exact.snap(-exact.cosines(exact.products(units, common)).squeeze(-1) * (length / exact.STEPS))


def saliency(distinct: Tensor, batch: Batch, params: SaliencyParams) -> Tensor:
    """s = (1 - a) * g + a * attention, both clipped at their outer ranks and scaled to [0, 1]; s = g without attention.

    Column attention is VisionZip's, the blend ours. The clip damps outliers.

    Args:
        distinct: (B, N) float64, g, from `rarity` or `distinctiveness`.
        params: a is `attention_share`; `saliency_clip` is the share of tokens clipped at either end.

    Returns:
        (B, N) float64 in [0, 1]; all zero for an image without contrast, zero in padding.
    """
    distinct = _rank_scaled(distinct, batch, params.saliency_clip)
    if batch.attention is None or not params.attention_share:
        return distinct
    received = batch.attention.to(torch.float64)
    received = received / received.amax(1, keepdim=True).clamp_min(1e-30)
    share = batch.attended.to(torch.float64) * params.attention_share
    return exact.snap((1 - share) * distinct + share * _rank_scaled(received, batch, params.saliency_clip))


def _rank_scaled(raw: Tensor, batch: Batch, clip: float) -> Tensor:
    skipped = [int((len(image.rows) - 1) * clip) for image in batch.images]
    most = max(skipped) + 1
    lowest = batch.within(raw, torch.inf).topk(most, dim=1, largest=False).values
    highest = batch.within(raw, -torch.inf).topk(most, dim=1).values
    if min(skipped) == max(skipped):
        low, high = lowest[:, -1:], highest[:, -1:]
    else:
        (end,) = columns([(count,) for count in skipped], raw.device)
        low, high = lowest.gather(1, end), highest.gather(1, end)
    return batch.within(exact.snap(exact.unit_range(raw, low, high)), 0.0)
