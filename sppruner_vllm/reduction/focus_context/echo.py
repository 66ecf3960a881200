"""Echoes: tokens that show what a more salient one shows already.

A large thing fills many tokens with nearly the same. Where no question can be trusted to say what matters, one of them
speaks for the others, so that the budget reaches more things. What is alike far away counts less: two things of a kind
are two.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch, columns
from sppruner_vllm.reduction.core.grid import Neighbours
from sppruner_vllm.reduction.core.ranking import rows_of

from .params import FocusContextParams

_MOST_PRODUCTS: Final = 2**22
"""Likenesses held at once on an accelerator, in float32: 16 MiB."""

_BLOCK_CPU: Final = 128
"""Candidates compared at once on a CPU, with those before them: half of all products are spared."""

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


def far_echoes(units: Tensor, standing: Tensor, batch: Batch, params: FocusContextParams) -> Tensor:
    """e_n = max(0, cos(u_n, u_m)), largest over the candidates m before n wherever they stand (ours); 1 for the others.

    Candidates are the tokens of highest standing, `echo_candidates` times the budget; no other can well be kept. All
    are compared at once, where a greedy choice of what is least like the chosen takes a step for each. O(K**2 * D).

    Args:
        units: (B, N, D) centred directions. standing: (B, N) float64 in [0, 1], without near echoes.

    Returns:
        (B, N) float64 in [0, 1].
    """
    counts = [candidates(image.budget, len(image.rows), params) for image in batch.images]
    order = batch.within(batch.keys(standing), -1).topk(max(counts), dim=1).indices
    ordered = rows_of(units, order)
    size = _BLOCK_CPU if order.device.type == "cpu" else max(_BLOCK_CPU, _MOST_PRODUCTS // order.numel())
    nearest = []
    for start in range(0, order.shape[1], size):
        dots = exact.products(ordered[:, start : start + size], ordered[:, : start + size])
        # Only what stands before a candidate can be echoed by it; 0 is likeness to nothing.
        nearest.append(dots.tril_(start - 1).amax(-1))
    likeness = exact.cosines(torch.cat(nearest, dim=1))
    if min(counts) < max(counts):
        inside = batch.index[: order.shape[1]] < columns([(count,) for count in counts], order.device)[0]
        likeness = torch.where(inside, likeness, 1.0)
    return torch.ones_like(standing).scatter_(1, order, likeness)


def candidates(budget: int, size: int, params: FocusContextParams) -> int:
    """How many tokens of an image are compared with each other."""
    return min(size, math.ceil(params.echo_candidates * budget))


def blind_standing(
    units: Tensor, salient: Tensor, batch: Batch, neighbours: Neighbours, params: FocusContextParams
) -> Tensor:
    """b_n = s_n ** p * (1 - discount * max(e_n, far * f_n)): what a token stands for where no question says more.

    e are the near echoes and f the far ones. The power weighs a second token of what stands out clearly against the
    first of what hardly does: one token of a thing is often too little to tell what it is.

    Args:
        units: (B, N, D) centred directions. salient: (B, N) float64 in [0, 1].

    Returns:
        (B, N) float64 in [0, 1].
    """
    loud = exact.snap(salient**params.blind_power)
    if not params.echo_discount:
        return loud
    echo = echoes(units, loud, batch, neighbours)
    if params.echo_far:
        first = without_echoes(loud, echo, params.echo_discount)
        echo = torch.maximum(echo, params.echo_far * far_echoes(units, first, batch, params))
    return without_echoes(loud, echo, params.echo_discount)


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
