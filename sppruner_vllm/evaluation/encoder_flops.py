"""Floating-point operations of Qwen2.5-VL's vision encoder, counted from its sizes alone.

For n visual tokens, so P = 4n patches, width d, gated MLP of width m, and a language model of width D:

    L * (8 P d^2 + 6 P d m) + F * 4 P^2 d + (L - F) * 4 P w d + 2 P p d + 2 n (16 d^2 + 4 d D)

The terms are the projections and the MLP of L blocks, the two products of attention in the F blocks that see the whole
picture and in those that see windows of w patches, the embedding of patches of p numbers, and the merger. Counted as in
prefill_flops.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .prefill_flops import DecoderShape, prefill_flops

_MERGED: Final = 4
"""Patches of a visual token."""

_PATCH: Final = 3 * 2 * 14 * 14
"""Numbers of a patch: colours, frames, pixels."""

_WINDOW: Final = 64
"""Patches of a whole window of 112 pixels."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of an encoder: blocks, and widths in features. whole: blocks that attend to the whole picture."""

    hidden: int
    depth: int
    intermediate: int
    whole: int


QWEN2_5_VL_ENCODER: Final = EncoderShape(hidden=1280, depth=32, intermediate=3420, whole=4)
"""The same for 3B and 7B."""

QWEN2_5_VL_3B: Final = DecoderShape(
    hidden=2048, layers=36, heads=16, kv_heads=2, head_width=128, intermediate=11008, vocabulary=151936
)
QWEN2_5_VL_7B: Final = DecoderShape(
    hidden=3584, layers=28, heads=28, kv_heads=4, head_width=128, intermediate=18944, vocabulary=152064
)


def encoder_flops(shape: EncoderShape, tokens: int, out: int) -> int:
    """Operations for a picture of `tokens` visual tokens, in whole windows, into rows of width `out`."""
    width, patches = shape.hidden, _MERGED * tokens
    blocks = shape.depth * patches * width * (8 * width + 6 * shape.intermediate)
    whole = shape.whole * 4 * patches**2 * width
    windows = (shape.depth - shape.whole) * 4 * patches * _WINDOW * width
    merger = 2 * tokens * _MERGED * width * (_MERGED * width + out)
    return blocks + whole + windows + 2 * patches * _PATCH * width + merger


def encoder_share(encoder: EncoderShape, decoder: DecoderShape, visual: int, text: int) -> float:
    """The encoder's share of the operations of a prefill with one picture, in (0, 1)."""
    pixels = encoder_flops(encoder, visual, decoder.hidden)
    return pixels / (pixels + prefill_flops(decoder, visual + text))
