"""Comparator `uniform`: evenly spaced tokens in both directions, whatever the image shows.

A selection that does not beat it earns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import from_shape
from sppruner_vllm.reduction.core.types import ImageTokens, Selection


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: object) -> list[Selection]:
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


METHOD: Final = Method("uniform", select=select)
