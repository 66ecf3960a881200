"""The demo's own forward with a cut: what `families/qwen2_5_vl_cut.py` does in vLLM, in plain tensor code.

For an evaluation without an engine. tests/engine holds both to the same rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sppruner_vllm.reduction.survivors import Survivors, survivors

from .pieces import gated, norm, rotate

_MERGED = 4
"""Patches of a visual token."""


def go_on(
    visual: Any,
    before: Tensor,
    states: Tensor,
    angles: tuple[Tensor, Tensor],
    real: Tensor | None,
    block: int,
    most: int,
) -> tuple[Tensor, Tensor | None]:
    """One picture through the blocks behind a cut.

    Args:
        visual: transformers' Qwen2.5-VL vision tower.
        before, states: (windows, patches of a window, F) before and behind the block of the cut.
        angles: cosines and sines, (windows, patches of a window, 1, head width).
        real: (windows, patches of a window) bool, False where windows stick out of the picture; None where none does.
        block: behind which the cut is. most: visual tokens that go on.

    Returns:
        (windows, patches of a window, F) behind the last block, all tokens restored; and (windows, tokens of a window),
        the mean attention that each token receives in the last block that looks at the whole picture, None where that
        stands before the cut.
    """
    shape = states.shape
    tokens = states.view(-1, _MERGED * shape[2])
    inside = torch.arange(len(tokens)) if real is None else real.view(-1, _MERGED)[:, 0].nonzero().flatten()
    window = inside * _MERGED // shape[1]
    start = tokens[inside]
    change = (start - before.view_as(tokens)[inside]).norm(dim=1)
    chosen = survivors(start, change, most)
    cos, sin = (table.expand(*shape[:2], 1, -1).reshape(len(tokens), _MERGED, 1, -1)[inside] for table in angles)
    near = window[chosen.kept].repeat_interleave(_MERGED)
    now, received = start[chosen.kept], None
    for number in range(block + 1, len(visual.blocks)):
        part = visual.blocks[number]
        if number in visual.fullatt_block_indexes:
            seen, received = _look(part, chosen.restored(start, now), cos, sin, chosen, None)
        else:
            own = Survivors(torch.arange(most), chosen.dropped[:0], chosen.neighbours[:0], chosen.weights[:0])
            seen, _ = _look(part, now, cos[chosen.kept], sin[chosen.kept], own, near.unsqueeze(1) == near)
        patches = now.view(most, _MERGED, -1) + seen
        now = (patches + gated(part.mlp, norm(part.norm2, patches))).view(most, -1)
    whole = tokens.index_copy(0, inside, chosen.restored(start, now)).view(shape)
    if received is None:
        return whole, None
    return whole, received.new_zeros(len(tokens)).index_copy(0, inside, received).view(shape[0], -1)


def _look(
    block: Any, tokens: Tensor, cos: Tensor, sin: Tensor, chosen: Survivors, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What the survivors see, (M, 4, F), and the mean attention that each of the tokens receives, (N,)."""
    attention = block.attn
    source = norm(block.norm1, tokens.view(len(tokens), _MERGED, -1))
    query, key, value = attention.qkv(source).unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    query, key = rotate(query, cos, sin)[chosen.kept], rotate(key, cos, sin)
    query, key, value = (part.flatten(0, 1).transpose(0, 1) for part in (query, key, value))
    seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    weights = (query @ key.transpose(1, 2) * attention.scaling).softmax(-1).mean((0, 1))
    out: Tensor = attention.proj(seen.transpose(0, 1).reshape(len(chosen.kept), _MERGED, -1))
    return out, weights.view(-1, _MERGED).sum(1)
