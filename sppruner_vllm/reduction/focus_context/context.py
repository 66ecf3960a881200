"""Context: the tokens that put the focus set back into its scene.

Every coarse cell of the image gets its one token. Where what has a claim leaves some of the budget, the grid is walked
along a space-filling curve and cut into runs of equal weight, one token each.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch, columns, per_token
from sppruner_vllm.reduction.core.grid import cell_grid

from .curves import curve
from .params import CurveName, FocusContextParams


def weights(standing: Tensor, params: FocusContextParams) -> Tensor:
    """w = floor + (1 - floor) * (1 - b + b * s), (B, N) float64 in (0, 1] (ours).

    Saliency prefers things to bare ground; the floor keeps every region in the draw.

    Args:
        standing: (B, N) float64 in [0, 1], s; b is `context_saliency`.
    """
    weight = 1 - params.context_saliency + params.context_saliency * standing
    return exact.snap(params.context_floor + (1 - params.context_floor) * weight)


def quota(key: Tensor, claim: Tensor, batch: Batch, params: FocusContextParams) -> Tensor:
    """The best token of every coarse cell that holds none with a claim (the idea of HoloV's crops), (B, N) bool.

    Args:
        key: (B, N) from `Batch.keys`. claim: (B, N) bool.
    """
    cells = [cell_grid(image.grid, int(image.budget * params.quota_share)) for image in batch.images]
    # A token with a claim wins its cell, and is not counted as placed.
    open_cells = ~claim
    if any(not down for down, _ in cells):
        open_cells = open_cells & (columns(cells, claim.device)[0] > 0)
    groups = [_cells(*image.grid, *cell) for image, cell in zip(batch.images, cells, strict=True)]
    return _best_of_groups(key.masked_fill(claim, torch.inf), per_token(groups, batch), open_cells, batch)


@lru_cache(maxsize=256)
def _cells(height: int, width: int, down: int, across: int) -> Tensor:
    """(height * width,) int64 on the CPU: the cell of each token. Do not write to it."""
    index = torch.arange(height * width, device="cpu")
    return (index // width * down // height) * across + index % width * across // width


def scan(key: Tensor, weight: Tensor, taken: Tensor, count: Tensor, batch: Batch, name: CurveName) -> Tensor:
    """The best token of each of `count` runs of equal weight along the curve, (B, N) bool.

    A window along a Hilbert curve of the grid picks one anchor per patch in NAP/MAT; runs of equal weight instead of
    equal length are ours. A token that outweighs a run leaves the next run empty.

    Args:
        key: (B, N) from `Batch.keys`. weight: (B, N) float64 in (0, 1].
        taken: (B, N) bool, tokens out of the draw. count: (B, 1) int64 runs, may be 0.
    """
    order = per_token([curve(name, *image.grid) for image in batch.images], batch)
    mass = exact.steps(batch.within(weight, 0.0)).masked_fill_(taken, 0).gather(1, order)
    upto = mass.cumsum(1)
    run = (upto - mass) * count // upto[:, -1:].clamp_min(1)
    run = torch.empty_like(run).scatter_(1, order, run)
    return _best_of_groups(key.masked_fill(taken, -1), run, ~taken & (count > 0), batch)


def _best_of_groups(key: Tensor, group: Tensor, eligible: Tensor, batch: Batch) -> Tensor:
    """The eligible tokens that have the highest key of their group, (B, N) bool; none in padding.

    Args:
        key: (B, N) float64, no two alike but those below 0 and those of tokens that are not eligible.
        group: (B, N) int64 in [0, N).
    """
    key = batch.within(key, -1)
    best = torch.full_like(key, -1).scatter_reduce_(1, group, key, "amax")
    return batch.within(eligible & (key == best.gather(1, group)), False)
