"""Neighbourhoods on the token grid, for a padded batch of grids of different shapes.

Each image is a flat row of tokens; the tables here say which tokens touch which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from . import exact
from .batch import Batch


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where each token lies and which tokens touch it.

    row, column: (B, N) int64; meaningless in padding.
    around: (B, N, 9) int64, the 3 x 3 window in raster order, itself at 4.
    inside: (B, N, 9) bool, False where the window leaves the image.
    """

    row: Tensor
    column: Tensor
    around: Tensor
    inside: Tensor

    def window(self, values: Tensor) -> Tensor:
        """(B, N, 9) values of each token's window; zero outside the image.

        Args:
            values: (B, N).
        """
        picked = values.gather(1, self.around.flatten(1)).view(self.around.shape)
        return torch.where(self.inside, picked, 0)


def build(batch: Batch) -> Neighbours:
    """The neighbours of every token of a batch."""
    row, column = batch.index // batch.width, batch.index % batch.width
    down, across, _ = _window(batch.index.device)
    rows, columns = row.unsqueeze(-1) + down, column.unsqueeze(-1) + across
    height, width = batch.height.unsqueeze(-1), batch.width.unsqueeze(-1)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & batch.real.unsqueeze(-1)
    return Neighbours(row, column, torch.where(inside, rows * width + columns, 0), inside)


@cache
def _window(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(9,) each: rows down, columns across, and the weight exp(-distance**2 / 2) in float64. Do not write to them."""
    nine = torch.arange(9, device=device)
    down, across = nine // 3 - 1, nine % 3 - 1
    return down, across, torch.exp(-0.5 * (down.square() + across.square()).to(torch.float64))


def smooth(values: Tensor, neighbours: Neighbours) -> Tensor:
    """3 x 3 Gaussian mean, sigma 1 (after EADP, methods of text relevance); the window is cut at the border.

    Args:
        values: (B, N) float64.
    """
    weights = torch.where(neighbours.inside, _window(values.device)[2], 0.0)
    summed = exact.total(neighbours.window(values) * weights, keepdim=False)
    return summed / exact.total(weights, keepdim=False).clamp_min(1.0)


def morans_i(values: Tensor, batch: Batch, neighbours: Neighbours) -> Tensor:
    """Moran's I over edge-sharing neighbours: about 0 for noise, towards 1 for a map made of patches.

    I = (n / 2E) * sum_ij z_i z_j / sum_i z_i**2 over the E neighbour pairs, z centred (Moran, Biometrika 1950).

    Args:
        values: (B, N) float64 in [0, 1].

    Returns:
        (B, 1) float64; 0 for a constant map and for a single token.
    """
    mean = exact.total(torch.where(batch.real, values, 0.0)) / batch.size
    centred = torch.where(batch.real, values - mean, 0.0)
    lag = neighbours.window(centred)[..., 1::2].sum(-1)
    spread = exact.total(centred.square())
    index = exact.total(centred * lag) / spread.clamp_min(1e-9) * batch.size / (2 * batch.edges).clamp_min(1)
    return torch.where(spread > 1e-6, index, 0.0)


def nearness(mask: Tensor, neighbours: Neighbours, rings: int) -> Tensor:
    """1 next to the marked tokens, halved with every further ring, 0 beyond `rings`; 1 on the tokens themselves.

    Args:
        mask: (B, N) bool.

    Returns:
        (B, N) float64.
    """
    near = mask.to(torch.float64) * 2
    for _ in range(rings):
        near = torch.maximum(near, neighbours.window(near).amax(-1) / 2)
    return near.clamp_max(1.0)
