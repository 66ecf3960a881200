"""Comparator `random`: a draw that depends on the grid and the budget only.

The same on every call, process and device. Random pruning beats most published methods on LLaVA (UniPruneBench).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import from_shape
from sppruner_vllm.reduction.core.types import ImageTokens, Selection


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: object) -> list[Selection]:
    """K tokens drawn without replacement."""
    return [from_shape(image, draw) for image in images]


@lru_cache(maxsize=256)
def draw(height: int, width: int, budget: int) -> Tensor:
    """(K,) int64, a seeded draw without replacement, in raster order."""
    generator = torch.Generator("cpu").manual_seed(zlib.crc32(f"{height}x{width}:{budget}".encode()))
    return torch.randperm(height * width, generator=generator, device="cpu")[:budget].sort().values


METHOD: Final = Method("random", select=select)
