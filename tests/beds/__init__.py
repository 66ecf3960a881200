"""Tiny models to test families on, one a family: how each is built, and what is asked of it.

A bed stands outside the product: a family of ours is tested on its bed, not built from it.
"""

from __future__ import annotations

from .bed import BEDS, Bed
from .llava import build_llava
from .qwen2_vl import build_qwen2_vl

__all__ = ["BEDS", "Bed", "build_llava", "build_qwen2_vl"]
