"""The demo's own forward with fewer tokens: what `families/qwen2_5_vl_cut.py` does in vLLM, in plain tensor code.

For an evaluation without an engine. tests/engine holds both to the same rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sppruner_vllm.reduction.repeats import first_alike
from sppruner_vllm.reduction.survivors import Survivors, survivors

from .pieces import gated, norm, rotate

_MERGED = 4
"""Patches of a visual token."""


def go_on(
    visual: Any,
    states: Tensor,
    angles: tuple[Tensor, Tensor],
    real: Tensor | None,
    cut: tuple[int, int] | None = None,
    pixels: Tensor | None = None,
) -> Tensor:
    """One picture through the blocks before the last that looks at the whole picture, of which not all tokens do all.

    Args:
        visual: transformers' Qwen2.5-VL vision tower.
        states: (windows, patches of a window, F) before the first block where repeats stay out, else behind the cut.
        angles: cosines and sines, (windows, patches of a window, 1, head width).
        real: (windows, patches of a window) bool, False where windows stick out of the picture; None where none does.
        cut: a block, and how many visual tokens go on behind it; None for no cut.
        pixels: (windows, patches of a window, C), by which repeats stay out; None lets all tokens enter.

    Returns:
        (windows, patches of a window, F) of all tokens, those left out as what they would be by then.
    """
    shape = states.shape
    tokens = states.view(-1, _MERGED * shape[2])
    inside = torch.arange(len(tokens)) if real is None else real.view(-1, _MERGED)[:, 0].nonzero().flatten()
    windows = inside * _MERGED // shape[1]
    cos, sin = (table.expand(*shape[:2], 1, -1).reshape(len(tokens), _MERGED, 1, -1)[inside] for table in angles)
    first = _first(pixels, inside, windows)
    kept = (first == torch.arange(len(first))).nonzero().flatten()
    stands_for = torch.searchsorted(kept, first)
    now, start, chosen = tokens[inside][kept], tokens, None

    def everyone() -> Tensor:
        return (now if chosen is None else chosen.restored(start, now)).index_select(0, stands_for)

    def choose(most: int) -> tuple[Tensor, Survivors, Tensor]:
        found = survivors(now, min(most, len(now)))
        return now[found.kept], found, kept[found.kept]

    begin = 0
    if pixels is None and cut is not None:
        begin, start = cut[0] + 1, now
        now, chosen, kept = choose(cut[1])
    for number in range(begin, max(visual.fullatt_block_indexes)):
        part = visual.blocks[number]
        if number in visual.fullatt_block_indexes:
            seen = _look(part, everyone(), cos, sin, kept, None)
        else:
            own = windows[kept].repeat_interleave(_MERGED)
            seen = _look(part, now, cos[kept], sin[kept], torch.arange(len(now)), own.unsqueeze(1) == own)
        patches = now.view(len(now), _MERGED, -1) + seen
        now = (patches + gated(part.mlp, norm(part.norm2, patches))).view(len(now), -1)
        if cut is not None and number == cut[0]:
            start = now
            now, chosen, kept = choose(cut[1])
    return tokens.index_copy(0, inside, everyone()).view(shape)


def _first(pixels: Tensor | None, inside: Tensor, windows: Tensor) -> Tensor:
    """(N,) the first token of its window that has the pixels of each; all are their own without pixels."""
    if pixels is None:
        return torch.arange(len(inside))
    lengths = windows.unique_consecutive(return_counts=True)[1].tolist()
    return first_alike(pixels.reshape(-1, _MERGED * pixels.shape[2])[inside], torch.arange(len(inside)), lengths)


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
