"""Synthetic images for the reduction tests: noise with planted objects."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sppruner_vllm.reduction import ImageTokens
from sppruner_vllm.reduction.core import batch as batches
from sppruner_vllm.reduction.core.batch import Batch

Box = tuple[int, int, int, int]
"""First row, first column, height, width."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_image(
    grid: tuple[int, int],
    budget: int,
    *,
    seed: int,
    width: int = 32,
    words: int = 0,
    dtype: torch.dtype = torch.float32,
) -> ImageTokens:
    """Independent normal rows, and as many normal query tokens."""
    generator = seeded(seed)
    rows = torch.randn(grid[0] * grid[1], width, generator=generator)
    query = torch.randn(words, width, generator=generator) if words else None
    return ImageTokens(rows.to(dtype), grid, None if query is None else query.to(dtype), budget)


def inside(grid: tuple[int, int], box: Box) -> Tensor:
    """(N,) bool mask of a box."""
    mask = torch.zeros(grid, dtype=torch.bool)
    row, column, height, width = box
    mask[row : row + height, column : column + width] = True
    return mask.flatten()


def scene(grid: tuple[int, int], boxes: Iterable[Box], *, seed: int, width: int = 256, noise: float = 1.0) -> Tensor:
    """(N, D) noise around a common offset, each box shifted in a direction of its own."""
    generator = seeded(seed)
    rows = noise * torch.randn(grid[0] * grid[1], width, generator=generator) + 3 * torch.randn(
        width, generator=generator
    )
    for box in boxes:
        rows[inside(grid, box)] += torch.randn(width, generator=generator)
    return rows


def padded(*images: ImageTokens) -> Batch:
    return batches.pad(images)
