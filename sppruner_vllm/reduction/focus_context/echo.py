"""Echoes: tokens that show what a more salient one shows already.

A large thing fills many tokens with nearly the same. Where no question can be trusted to say what matters, one of them
speaks for the others, so that the budget reaches more things. Only what is next door is an echo: two things of a kind
are two.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.grid import Neighbours

from .params import FocusContextParams

_LATER: Final = slice(5, 9)
"""The window's places that come later in raster order: each pair of neighbours is met once."""


def echoes(units: Tensor, salient: Tensor, batch: Batch, neighbours: Neighbours) -> Tensor:
    """e_n = max(0, cos(u_n, u_m)), largest over the more salient tokens m of the 3 x 3 window (ours); 0 on a peak.

    Among equals the lower index counts as the more salient. O(N * D).

    Args:
        units: (B, N, D) centred directions. salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    other, inside = neighbours.around[:, _LATER], neighbours.inside[:, _LATER]
    likeness = torch.where(inside, exact.cosines(_products_with_later(units, batch)), 0.0).clamp_min_(0.0)
    standing = salient.unsqueeze(1).expand_as(likeness)
    weaker = standing.gather(2, other) > standing
    forth = likeness * weaker
    # Of two neighbours the one that comes later in raster order echoes the earlier, unless that is the weaker.
    back = likeness - forth
    return exact.snap(forth.amax(1).scatter_reduce_(1, other.flatten(1), back.flatten(1), "amax"))


def _products_with_later(units: Tensor, batch: Batch) -> Tensor:
    """(B, 4, N) float32 dot products of each row with those at the later places; meaningless outside the image.

    A neighbour on the grid is a fixed step away, so shifted views do without a copy of the rows. Images of one width
    that stand side by side in the batch share their steps: what reaches over the end of one is outside.
    """
    length = units.shape[1]
    found = torch.empty(4, len(batch.images), length, device=units.device)
    first = 0
    for width, images in groupby(image.grid[1] for image in batch.images):
        last = first + len(list(images))
        rows, into = units[first:last].flatten(0, 1), found[:, first:last].flatten(1)
        for slot, step in enumerate((1, width - 1, width, width + 1)):
            if step < len(rows):
                into[slot, : len(rows) - step] = exact.row_products(rows[: len(rows) - step], rows[step:])
        first = last
    return found.transpose(0, 1)


def blind_standing(
    units: Tensor, salient: Tensor, batch: Batch, neighbours: Neighbours, params: FocusContextParams
) -> Tensor:
    """b_n = s_n ** p * (1 - discount * e_n): what a token stands for where no question says more.

    The power weighs a second token of what stands out clearly against the
    first of what hardly does: one token of a thing is often too little to tell what it is.

    Args:
        units: (B, N, D) centred directions. salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    loud = exact.snap(salient**params.blind_power)
    if not params.echo_discount:
        return loud
    return without_echoes(loud, echoes(units, loud, batch, neighbours), params.echo_discount)


def without_echoes(standing: Tensor, echo: Tensor, discount: float) -> Tensor:
    """s_n * (1 - discount * e_n).

    Args:
        standing, echo: (B, N) float64 in [0, 1].
    """
    return exact.snap(standing * (1 - discount * echo))


def without_repeats(values: Tensor, repeats: Tensor, discount: float) -> Tensor:
    """v_n * (1 - discount * p_n): of a video, what the frame before showed at the same place needs no second showing.

    A trusted query does not lift this discount: what it asks about stands in the frame before, too.

    Args:
        values: (B, N) float64 in [0, 1]. repeats: (B, N) float32 in [0, 1].
    """
    return exact.snap(values * (1 - discount * repeats.to(torch.float64)))
