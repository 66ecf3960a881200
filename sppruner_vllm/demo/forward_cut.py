"""The demo's own forward with a cut: what `families/qwen2_5_vl_cut.py` does in vLLM, in plain tensor code.

For an evaluation without an engine. tests/engine holds both to the same rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sppruner_vllm.reduction.survivors import survivors

from .pieces import gated, norm, rotate

_MERGED = 4
"""Patches of a visual token."""


def go_on(
    visual: Any, states: Tensor, angles: tuple[Tensor, Tensor], real: Tensor | None, block: int, most: int
) -> Tensor:
    """One picture through the blocks between a cut and the last that looks at the whole picture.

    Args:
        visual: transformers' Qwen2.5-VL vision tower.
        states: (windows, patches of a window, F) behind the block of the cut.
        angles: cosines and sines, (windows, patches of a window, 1, head width).
        real: (windows, patches of a window) bool, False where windows stick out of the picture; None where none does.
        block: behind which the cut is. most: visual tokens that go on.

    Returns:
        (windows, patches of a window, F) of all tokens, those that waited as what they would be by then.
    """
    shape = states.shape
    tokens = states.view(-1, _MERGED * shape[2])
    inside = torch.arange(len(tokens)) if real is None else real.view(-1, _MERGED)[:, 0].nonzero().flatten()
    start = tokens[inside]
    chosen = survivors(start, most)
    cos, sin = (table.expand(*shape[:2], 1, -1).reshape(len(tokens), _MERGED, 1, -1)[inside] for table in angles)
    window = (inside * _MERGED // shape[1])[chosen.kept].repeat_interleave(_MERGED)
    every, own = torch.arange(len(start)), (cos[chosen.kept], sin[chosen.kept])
    now = start[chosen.kept]
    for number in range(block + 1, max(visual.fullatt_block_indexes)):
        part = visual.blocks[number]
        if number in visual.fullatt_block_indexes:
            seen = _look(part, chosen.restored(start, now), cos, sin, chosen.kept, None)
        else:
            seen = _look(part, now, *own, every[:most], window.unsqueeze(1) == window)
        patches = now.view(most, _MERGED, -1) + seen
        now = (patches + gated(part.mlp, norm(part.norm2, patches))).view(most, -1)
    return tokens.index_copy(0, inside, chosen.restored(start, now)).view(shape)


def _look(block: Any, tokens: Tensor, cos: Tensor, sin: Tensor, asking: Tensor, mask: Tensor | None) -> Tensor:
    """What some of the tokens see of all of them, (M, 4, F)."""
    attention = block.attn
    source = norm(block.norm1, tokens.view(len(tokens), _MERGED, -1))
    query, key, value = attention.qkv(source).unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    query, key = rotate(query, cos, sin)[asking], rotate(key, cos, sin)
    query, key, value = (part.flatten(0, 1).transpose(0, 1) for part in (query, key, value))
    seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    out: Tensor = attention.proj(seen.transpose(0, 1).reshape(len(asking), _MERGED, -1))
    return out
