"""Neighbourhoods on the token grid, for a padded batch of grids of different shapes.

Each image is a flat row of tokens; the tables here say which tokens touch which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from . import exact
from .batch import Batch


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which tokens touch each token. The tokens stand last: nine rows are faster to join than N short ones.

    around: (B, 9, N) int64, the 3 x 3 window in raster order; itself at 4, and where the window leaves the image.
    inside: (B, 9, N) bool, False where the window leaves the image.
    weights: (B, 9, N) float64, those of `smooth`, zero where the window leaves the image.
    weight: (B, N) float64, the weights of each window added up, at least 1.
    """

    around: Tensor
    inside: Tensor
    weights: Tensor
    weight: Tensor

    def window(self, values: Tensor) -> Tensor:
        """(B, 9, N) values of each token's window; its own for what is outside the image.

        Args:
            values: (B, N).
        """
        return values.gather(1, self.around.flatten(1)).view(self.around.shape)


def build(batch: Batch) -> Neighbours:
    """The neighbours of every token of a batch. May be shared between calls; do not write to them."""
    length, device = batch.real.shape[1], batch.real.device
    tables = [_table(*image.grid, length, device) for image in batch.images]
    if len({image.grid for image in batch.images}) == 1:
        return Neighbours(*(part.expand(len(tables), *part.shape) for part in tables[0]))
    return Neighbours(*(torch.stack(parts) for parts in zip(*tables, strict=True)))


@lru_cache(maxsize=16)  # 16,384 tokens take 2.6 MB.
def _table(height: int, width: int, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Around, inside, weights and weight of one grid, padded to `length` tokens."""
    index = torch.arange(length, device=device)
    down, across, weights = _window(device)
    rows, columns = index // width + down, index % width + across
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width) & (index < height * width)
    weights = torch.where(inside, weights, 0.0)
    around = torch.where(inside, rows * width + columns, index)
    return around, inside, weights, exact.total(weights, 0, keepdim=False).clamp_min(1.0)


@cache
def _window(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(9, 1) each: rows down, columns across, and the weight exp(-distance**2 / 2) in float64. Do not write to them."""
    nine = torch.arange(9, device=device).unsqueeze(-1)
    down, across = nine // 3 - 1, nine % 3 - 1
    return down, across, torch.exp(-0.5 * (down.square() + across.square()).to(torch.float64))


def smooth(values: Tensor, neighbours: Neighbours) -> Tensor:
    """3 x 3 Gaussian mean, sigma 1 (after EADP, methods of text relevance); the window is cut at the border.

    Args:
        values: (B, N) float64.
    """
    summed = exact.total(neighbours.window(values) * neighbours.weights, 1, keepdim=False)
    return summed / neighbours.weight


def morans_i(values: Tensor, batch: Batch, neighbours: Neighbours) -> Tensor:
    """Moran's I over edge-sharing neighbours: about 0 for noise, towards 1 for a map made of patches.

    I = (n / 2E) * sum_ij z_i z_j / sum_i z_i**2 over the E neighbour pairs, z centred (Moran, Biometrika 1950).

    Args:
        values: (B, N) float64 in [0, 1].

    Returns:
        (B, 1) float64; 0 for a constant map and for a single token.
    """
    mean = exact.total(batch.within(values, 0.0)) / batch.size
    centred = batch.within(values - mean, 0.0)
    edges = neighbours.around[:, 1::2]
    beside = centred.gather(1, edges.flatten(1)).view(edges.shape)
    lag = torch.where(neighbours.inside[:, 1::2], beside, 0.0).sum(1)
    spread = exact.total(centred * centred)
    index = exact.total(centred * lag) / spread.clamp_min(1e-9) * batch.size / batch.edge_ends
    return torch.where(spread > 1e-6, index, 0.0)


def cell_grid(grid: tuple[int, int], limit: int) -> tuple[int, int]:
    """Rows and columns of about square cells, at most `limit` of them; (0, 0) for a limit below one."""
    height, width = grid
    if limit < 1:
        return 0, 0
    across = min(width, limit, max(1, int((limit * width / height) ** 0.5)))
    down = min(height, limit // across)
    return down, min(width, limit // down)
