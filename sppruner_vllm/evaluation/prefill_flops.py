"""Floating-point operations of a prompt's prefill in a LLaMA-shaped decoder, counted from its sizes alone.

For n tokens, hidden size d, h heads and g key-value heads of width e, gated MLP of width m, L layers and vocabulary V:

    L * (4 n d h e + 4 n d g e + 4 n^2 h e + 6 n d m) + 2 d V

The terms are the query and output projections, the key and value projections, the two products of attention, the three
matrices of the MLP, and the output layer for the last token, the only one that prefill needs. A multiplication with its
addition is two operations. Norms, rotary embedding, softmax and activation are left out: they are not matrix products.
Attention counts the whole n x n square, as FastV (arXiv 2403.06764) and the papers after it do; a kernel
that skips what the causal mask hides does half of that. FastV's own formula, 4nd^2 + 2n^2d + 2ndm, counts a
multiplication with its addition once and an MLP of two matrices; LLaMA's has three.

The vision encoder is not part of it: a reduction after the encoder saves nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder: layers, and widths in features. head_width: of one head. intermediate: of the gated MLP."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    intermediate: int
    vocabulary: int


LLAVA_1_5_7B: Final = DecoderShape(
    hidden=4096, layers=32, heads=32, kv_heads=32, head_width=128, intermediate=11008, vocabulary=32000
)
"""Vicuna 7B, the language model of LLaVA-1.5-7B."""


def prefill_flops(shape: DecoderShape, tokens: int) -> int:
    """Operations of a prefill of `tokens` tokens, at least 1, with nothing cached."""
    queries = shape.heads * shape.head_width
    keys = shape.kv_heads * shape.head_width
    projections = 4 * tokens * shape.hidden * (queries + keys)
    attention = 4 * tokens**2 * queries
    mlp = 6 * tokens * shape.hidden * shape.intermediate
    return shape.layers * (projections + attention + mlp) + 2 * shape.hidden * shape.vocabulary


def flops_saved(shape: DecoderShape, visual: int, kept: int, text: int) -> float:
    """Share of a prefill's operations that is saved when a prompt keeps fewer visual tokens.

    Args:
        visual, kept: visual tokens before and after the reduction.
        text: all other tokens of the prompt.

    Returns:
        Fraction in [0, 1).
    """
    return 1 - prefill_flops(shape, kept + text) / prefill_flops(shape, visual + text)
