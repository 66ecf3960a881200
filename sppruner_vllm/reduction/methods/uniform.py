"""Comparator `uniform`: evenly spaced tokens in both directions, whatever the image shows.

A selection that does not beat it earns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sppruner_vllm.reduction.core.batch import upload
from sppruner_vllm.reduction.core.types import ImageTokens, Selection
from sppruner_vllm.reduction.focus_context.params import FocusContextParams


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """A lattice of about square spacing."""
    return [from_shape(image, lattice) for image in images]


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


def from_shape(image: ImageTokens, choose: Callable[[int, int, int], Tensor]) -> Selection:
    """What `choose` takes from a grid of that height, width and budget; the kept tokens score 1, the others 0."""
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
