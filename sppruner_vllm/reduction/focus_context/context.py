"""Context: the tokens that put the focus set back into its scene.

The grid is walked along a space-filling curve and cut into runs of equal weight, one token each, after every coarse
cell of the image has got its one token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch, columns, upload
from sppruner_vllm.reduction.core.grid import Neighbours, nearness

from .curves import curve
from .focus import focus_cap
from .params import CurveName, FocusContextParams


def weights(
    salient: Tensor, focus: Tensor, trust: Tensor, neighbours: Neighbours, params: FocusContextParams
) -> Tensor:
    """w = floor + (1 - floor) * (1 - a + a * nearness) * (1 - b + b * s), (B, N) float64 in (0, 1] (ours).

    Nearness puts the surroundings of the focus first, which is how SPpruner's abstract describes its scan, as far as
    the query can be trusted to have found it; saliency prefers things to bare ground; the floor keeps every region in
    the draw.

    Args:
        salient: (B, N) float64 in [0, 1]. focus: (B, N) bool.
        trust: (B, 1) float64 in [0, 1]; a is `surroundings` times this.
    """
    near = nearness(focus, neighbours, params.rings)
    share = params.surroundings * trust
    weight = 1 - share + share * near
    weight = weight * (1 - params.context_saliency + params.context_saliency * salient)
    return exact.snap(params.context_floor + (1 - params.context_floor) * weight)


def quota(score: Tensor, focus: Tensor, batch: Batch, neighbours: Neighbours, params: FocusContextParams) -> Tensor:
    """The best token of every coarse cell that holds no focus token (the idea of HoloV's crops), (B, N) bool."""
    cells = [
        cell_grid(image.grid, int((image.budget - focus_cap(image.budget, params)) * params.quota_share))
        for image in batch.images
    ]
    down, across = columns(cells, batch.real.device)
    group = (neighbours.row * down // batch.height) * across + neighbours.column * across // batch.width
    group = torch.where(batch.real, group, 0)
    seen = torch.zeros_like(group).scatter_reduce_(1, group, focus.to(torch.int64), "amax").gather(1, group)
    return _best_of_groups(score, group, batch, batch.real & (seen == 0) & (down > 0))


def cell_grid(grid: tuple[int, int], limit: int) -> tuple[int, int]:
    """Rows and columns of about square cells, at most `limit` of them; (0, 0) for a limit below one."""
    height, width = grid
    if limit < 1:
        return 0, 0
    across = min(width, limit, max(1, int((limit * width / height) ** 0.5)))
    down = min(height, limit // across)
    return down, min(width, limit // down)


def scan(score: Tensor, weight: Tensor, taken: Tensor, count: Tensor, batch: Batch, name: CurveName) -> Tensor:
    """The best token of each of `count` runs of equal weight along the curve, (B, N) bool.

    A window along a Hilbert curve of the grid picks one anchor per patch in NAP/MAT; runs of equal weight instead of
    equal length are ours. A token that outweighs a run leaves the next run empty.

    Args:
        score: (B, N) float64 in [0, 1]. weight: (B, N) float64 in (0, 1].
        taken: (B, N) bool, tokens out of the draw. count: (B, 1) int64 runs, may be 0.
    """
    order = _walk(name, batch)
    drawn = batch.real & ~taken
    mass = exact.steps(torch.where(drawn, weight, 0.0)).gather(1, order)
    upto = mass.cumsum(1)
    run = (upto - mass) * count // upto[:, -1:].clamp_min(1)
    run = torch.empty_like(run).scatter_(1, order, run)
    return _best_of_groups(score, torch.where(drawn, run, 0), batch, drawn & (count > 0))


def _walk(name: CurveName, batch: Batch) -> Tensor:
    longest = batch.real.shape[1]
    order = torch.arange(longest, device="cpu").repeat(len(batch.images), 1)
    for slot, image in zip(order, batch.images, strict=True):
        slot[: image.rows.shape[0]] = curve(name, *image.grid)
    return upload(order, batch.real.device)


def _best_of_groups(score: Tensor, group: Tensor, batch: Batch, eligible: Tensor) -> Tensor:
    """The eligible token with the highest score of each group, the lower index among equals, (B, N) bool.

    Args:
        group: (B, N) int64 in [0, N).
    """
    length = score.shape[1]
    key = torch.where(eligible, exact.steps(score) * length + (length - 1 - batch.index), -1)
    best = torch.full_like(key, -1).scatter_reduce_(1, group, key, "amax")
    return eligible & (key == best.gather(1, group))
