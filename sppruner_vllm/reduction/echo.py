"""Echoes: tokens that show what a more salient neighbour shows already.

A large thing fills many tokens with nearly the same. Where no question can be trusted to say what matters, one of them
speaks for the others, so that the budget reaches more things.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from . import exact
from .grid import Grid

_LATER: Final = 5
"""First of the window's four places that come later in raster order: each pair of neighbours is met once."""


def echoes(units: Tensor, salient: Tensor, grid: Grid) -> Tensor:
    """e_n = max(0, cos(u_n, u_m)), largest over the more salient tokens m of the 3 x 3 window (ours); 0 on a peak.

    Among equals the lower index counts as the more salient. O(N * D).

    Args:
        units: (B, N, D) centred directions. salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    found = torch.zeros_like(salient)
    for place in range(_LATER, 9):
        other = grid.around[..., place]
        beside = units.gather(1, other.unsqueeze(-1).expand_as(units))
        cosine = torch.where(grid.inside[..., place], exact.cosines((units * beside).sum(-1)), 0.0).clamp_min(0.0)
        weaker = salient.gather(1, other) > salient
        found = torch.maximum(found, torch.where(weaker, cosine, 0.0))
        found = found.scatter_reduce(1, other, torch.where(weaker, 0.0, cosine), "amax")
    return exact.snap(found)


def without_echoes(salient: Tensor, echo: Tensor, trust: Tensor, discount: float) -> Tensor:
    """s_n * (1 - discount * (1 - trust) * e_n): the whole discount without a query, none with a trusted one.

    Args:
        salient, echo: (B, N) float64 in [0, 1]. trust: (B, 1) float64 in [0, 1].
    """
    return exact.snap(salient * (1 - discount * (1 - trust) * echo))
