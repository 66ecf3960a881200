"""Comparators that look at the grid and the budget only.

A selection that does not beat them earns nothing, so they are served beside ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .batch import upload
from .params import FocusContextParams
from .types import ImageTokens, Selection


def uniform(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """Evenly spaced tokens in both directions."""
    return [_selection(image, lattice) for image in images]


def random(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """A random choice that depends on the grid and the budget only: the same on every call, process and device."""
    return [_selection(image, draw) for image in images]


@lru_cache(maxsize=256)
def lattice(height: int, width: int, budget: int) -> Tensor:
    """(K,) int64: about square spacing, rows chosen first, then the row's share of the budget spread along it.

    Row counts differ by one at most, so that exactly K tokens come out.
    """
    fewest = -(-budget // width)
    rows = max(fewest, min(height, budget, round((budget * height / width) ** 0.5)))
    picked = []
    for i in range(rows):
        row = (2 * i + 1) * height // (2 * rows)
        count = (i + 1) * budget // rows - i * budget // rows
        picked += [row * width + (2 * j + 1) * width // (2 * count) for j in range(count)]
    return torch.tensor(picked, dtype=torch.int64, device="cpu")


@lru_cache(maxsize=256)
def draw(height: int, width: int, budget: int) -> Tensor:
    """(K,) int64, a seeded draw without replacement, in raster order."""
    generator = torch.Generator("cpu").manual_seed(zlib.crc32(f"{height}x{width}:{budget}".encode()))
    return torch.randperm(height * width, generator=generator, device="cpu")[:budget].sort().values


def _selection(image: ImageTokens, choose: Callable[[int, int, int], Tensor]) -> Selection:
    kept = choose(*image.grid, image.budget)
    scores = torch.zeros(image.rows.shape[0], device="cpu").index_fill_(0, kept, 1.0)
    device = image.rows.device
    return Selection(
        kept=upload(kept.clone(), device),
        is_focus=torch.zeros(image.budget, dtype=torch.bool, device=device),
        saliency=torch.zeros(image.rows.shape[0], device=device),
        relevance=None,
        scores=upload(scores, device),
    )
