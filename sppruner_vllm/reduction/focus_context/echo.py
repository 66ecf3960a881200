"""Echoes: tokens that show what a more salient neighbour shows already.

A large thing fills many tokens with nearly the same. Where no question can be trusted to say what matters, one of them
speaks for the others, so that the budget reaches more things.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.grid import Neighbours

_LATER: Final = (5, 6, 7, 8)
"""The window's places that come later in raster order: each pair of neighbours is met once."""


def echoes(units: Tensor, salient: Tensor, batch: Batch, neighbours: Neighbours) -> Tensor:
    """e_n = max(0, cos(u_n, u_m)), largest over the more salient tokens m of the 3 x 3 window (ours); 0 on a peak.

    Among equals the lower index counts as the more salient. O(N * D).

    Args:
        units: (B, N, D) centred directions. salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    found = torch.zeros_like(salient)
    for place in _LATER:
        other, inside = neighbours.around[..., place], neighbours.inside[..., place]
        likeness = torch.zeros_like(salient)
        for row, image in enumerate(batch.images):
            # A neighbour on the grid is a fixed step away, so a shifted view does without a copy of the rows.
            step = (place // 3 - 1) * image.grid[1] + place % 3 - 1
            left, right = units[row, : max(0, units.shape[1] - step)], units[row, step:]
            likeness[row, : len(left)] = exact.cosines(torch.linalg.vecdot(left, right))
        likeness = torch.where(inside, likeness, 0.0).clamp_min(0.0)
        weaker = salient.gather(1, other) > salient
        found = torch.maximum(found, torch.where(weaker, likeness, 0.0))
        found = found.scatter_reduce(1, other, torch.where(weaker, 0.0, likeness), "amax")
    return exact.snap(found)


def without_echoes(salient: Tensor, echo: Tensor, trust: Tensor, discount: float) -> Tensor:
    """s_n * (1 - discount * (1 - trust) * e_n): the whole discount without a query, none with a trusted one.

    Args:
        salient, echo: (B, N) float64 in [0, 1]. trust: (B, 1) float64 in [0, 1].
    """
    return exact.snap(salient * (1 - discount * (1 - trust) * echo))
