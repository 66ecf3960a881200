"""Rarity: how little of a token the other tokens of its image have.

The mean of a picture knows one common thing. Where clutter is common too, what is rare lies between that and the
ground, and points away from the mean less than clutter does. Squares let every common direction count.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch, columns, upload
from sppruner_vllm.reduction.core.centred import Centred
from sppruner_vllm.reduction.core.grid import cell_grid
from sppruner_vllm.reduction.core.ranking import rows_of

_SAMPLE: Final = 64
"""Tokens that stand for the image, one for each of as many cells: what is common is in any sample."""

_NOTHING: Final = 1e-3
"""Share of the squares of mean and difference below which the two cancel out: the row is zero but for rounding."""


def rarity(rows: Centred, batch: Batch) -> Tensor:
    """g_n = 1 - mean_m cos(x_n, x_m) ** 2 over a sample of the image, (B, N) float64 in [0, 1] (ours).

    The second moment in place of Cen-Prune's first: 1 - v' C v of the direction v, with C = mean_m v_m v_m'. Ridge
    leverage (Alaoui and Mahoney, NeurIPS 2015; SFPruner selects by it) is v' (C + mu)^-1 v up to a factor, which for
    mu = 1 is this to first order. The rows' cosines and not those of the centred ones: the offset that they share is
    one of the common things, and bare ground, which is little more than that, is rare in nothing. O(N * D).

    Args:
        rows: of the batch; x_n = mean + length_n * unit_n.

    Returns:
        0 for rows that are zero, and in padding.
    """
    offset = exact.lengths(rows.mean)
    along = exact.cosines(exact.products(rows.units, exact.directions(rows.mean.clone(), length=offset)).squeeze(-1))
    squares = offset.square(), rows.lengths.square()
    square = squares[0] + 2 * offset * rows.lengths * along + squares[1]
    alive = batch.real & (square > _NOTHING * (squares[0] + squares[1]))
    size = square.sqrt().masked_fill(~alive, torch.inf)
    # x_n / |x_n| = common * mean / |mean| + own * unit_n, and `along` is the cosine of those two directions.
    common, own = offset / size, rows.lengths / size
    places, count = _sample(batch)
    likeness = exact.cosines(exact.products(rows.units, rows_of(rows.units, places)))
    likeness.mul_(own.gather(1, places).unsqueeze(1))
    likeness += along.unsqueeze(2) * common.gather(1, places).unsqueeze(1)
    likeness.mul_(own.unsqueeze(2))
    likeness += common.unsqueeze(2) * (common + own * along).gather(1, places).unsqueeze(1)
    if isinstance(count, Tensor):
        likeness *= (batch.index[: places.shape[1]] < count).unsqueeze(1)
    shared = exact.total(likeness.clamp_(-1, 1).square_(), keepdim=False) / count
    return torch.where(alive, exact.snap(1 - shared), 0.0)


def _sample(batch: Batch) -> tuple[Tensor, Tensor | int]:
    """(B, M) int64 tokens of each image's sample, 0 beyond its end, and how many they are, (B, 1) or one for all."""
    places = [_lattice(*image.grid) for image in batch.images]
    if all(place is places[0] for place in places):
        return upload(places[0], batch.real.device).expand(len(places), -1), len(places[0])
    (count,) = columns([(len(place),) for place in places], batch.real.device)
    return upload(torch.nn.utils.rnn.pad_sequence(places, batch_first=True), batch.real.device), count


@lru_cache(maxsize=256)
def _lattice(height: int, width: int) -> Tensor:
    """(M,) int64 on the CPU: the token in the middle of each coarse cell. Do not write to it."""
    down, across = cell_grid((height, width), _SAMPLE)
    rows = (2 * torch.arange(down, device="cpu") + 1) * height // (2 * down)
    places = (2 * torch.arange(across, device="cpu") + 1) * width // (2 * across)
    return (rows.unsqueeze(1) * width + places).flatten()
