"""Tiny models to test families on, one a family: how each is built, and what is asked of it.

A bed stands outside the product: a family of ours is tested on its bed, not built from it.
"""

from __future__ import annotations

from .bed import BEDS, UNTRAINED, Bed
from .llava import build_llava
from .llava_next import build_llava_next
from .mistral3 import build_mistral3
from .qwen2_vl import build_qwen2_vl
from .qwen3_vl import build_qwen3_vl

__all__ = [
    "BEDS",
    "UNTRAINED",
    "Bed",
    "build_llava",
    "build_llava_next",
    "build_mistral3",
    "build_qwen2_vl",
    "build_qwen3_vl",
]
