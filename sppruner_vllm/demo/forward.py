"""Qwen2.5-VL's forward pass in plain batched tensor code, on transformers' own weights.

For training, and for an evaluation without an engine. transformers runs vision windows one by one and rebuilds masks
per layer; on two CPU cores that is most of the time. The results are equal (tests/training/test_demo_training.py).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from .forward_cut import go_on
from .pieces import gated, norm, rotate

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
STD: Final = (0.26862954, 0.26130258, 0.27577711)
_PATCH: Final = 14
_TOKEN: Final = 2 * _PATCH
_WINDOW: Final = 4
"""Visual tokens along a side of an attention window."""

_Grid = tuple[int, int]


def encode(
    visual: Any,
    pictures: Tensor,
    attention: list[Tensor] | None = None,
    cut: tuple[int, int] | None = None,
    *,
    skip_repeats: bool = False,
    merger_input: list[Tensor] | None = None,
) -> Tensor:
    """Visual tokens of pictures of one size.

    Args:
        visual: transformers' Qwen2.5-VL vision tower.
        pictures: (B, 3, H, W) uint8, H and W multiples of 28.
        attention: gets one (B, N) tensor, the mean attention that each visual token receives in the last block that
            looks at the whole picture. None leaves it out.
        cut: a block, counted from 0, and how many tokens go on behind it; None lets all go through.
        skip_repeats: tokens with exactly the pixels of another one of their window do not enter.
        merger_input: gets one (B, N, 4, width) tensor, the patches that the merger makes each row of. None leaves it
            out.

    Returns:
        (B, N, D) in raster order, N = H / 28 * W / 28.
    """
    grid = pictures.shape[2] // _TOKEN, pictures.shape[3] // _TOKEN
    windows = -(-grid[0] // _WINDOW), -(-grid[1] // _WINDOW)
    mean, std = (torch.tensor(value).view(3, 1, 1) * 255 for value in (MEAN, STD))
    below, beside = ((count * _WINDOW - side) * _TOKEN for count, side in zip(windows, grid, strict=True))
    pixels = functional.pad((pictures - mean) / std, (0, beside, 0, below))
    real = _real_patches(grid, windows) if below or beside else None
    squares = pixels.view(len(pictures), 3, windows[0], _WINDOW, 2, _PATCH, windows[1], _WINDOW, 2, _PATCH)
    patches = squares.permute(0, 2, 6, 3, 7, 4, 8, 1, 5, 9).reshape(
        len(pictures), math.prod(windows), 4 * _WINDOW**2, -1
    )
    # An image is a video of two equal frames: both halves of the kernel see the same pixels.
    kernel = visual.patch_embed.proj.weight.sum(2).flatten(1)
    hidden = functional.linear(patches, kernel)
    cos, sin = _patch_angles(visual.blocks[0].attn.head_dim, windows)
    last = max(visual.fullatt_block_indexes)
    for index, block in enumerate(visual.blocks):
        if index < last and (skip_repeats or (cut is not None and cut[0] < index)):
            continue
        if index == last and (skip_repeats or cut is not None):
            shown = patches if skip_repeats else [None] * len(patches)
            each = zip(hidden, shown, strict=True)
            hidden = torch.stack([go_on(visual, own, (cos, sin), real, cut, pixels) for own, pixels in each])
        whole = index in visual.fullatt_block_indexes
        source = norm(block.norm1, hidden)
        if attention is not None and index == last:
            received = _in_raster_order(_received(block.attn, source, cos, sin, real), windows)
            attention.append(received[:, : grid[0], : grid[1]].flatten(1))
        hidden = hidden + _look(block.attn, source, cos, sin, real, whole=whole)
        hidden = hidden + gated(block.mlp, norm(block.norm2, hidden))
    if merger_input is not None:
        units = _in_raster_order(hidden.unflatten(2, (_WINDOW**2, 4)), windows)
        merger_input.append(units[:, : grid[0], : grid[1]].flatten(1, 2))
    merged = norm(visual.merger.ln_q, hidden).view(*hidden.shape[:2], _WINDOW**2, -1)
    rows: Tensor = _in_raster_order(visual.merger.mlp(merged), windows)
    return rows[:, : grid[0], : grid[1]].flatten(1, 2)


def _in_raster_order(values: Tensor, windows: _Grid) -> Tensor:
    """(B, windows, tokens of a window, ...) as (B, rows, columns, ...)."""
    tail = values.shape[3:]
    cut = values.reshape(-1, *windows, _WINDOW, _WINDOW, *tail).transpose(2, 3)
    return cut.reshape(-1, windows[0] * _WINDOW, windows[1] * _WINDOW, *tail)


class Cache:
    """Keys and values of what has been decoded, per layer; filled by `decode`."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer so far, (B, heads, T, width), the new ones last."""
        if layer in self._layers:
            before = self._layers[layer]
            key, value = torch.cat((before[0], key), dim=2), torch.cat((before[1], value), dim=2)
        self._layers[layer] = key, value
        return key, value


def decode(
    language: Any,
    embeddings: Tensor,
    positions: Tensor,
    mask: Tensor,
    cache: Cache | None = None,
    layers: int | None = None,
    *,
    last_alone: bool = False,
) -> list[Tensor]:
    """Hidden states of the language model.

    Args:
        language: transformers' Qwen2.5-VL text model, or Qwen2.
        embeddings: (B, T, D). positions: (3, B, T) M-RoPE positions; Qwen2, whose positions lie on a line, takes the
            first row.
        mask: (B, 1, T, all) bool, True may be attended to; all = T, and what the cache holds before it.
        cache: what came before; extended. layers: how many run, fewer than there are; None for all.
        last_alone: of the last layer only the last token's state is wanted, by which the next token is chosen.

    Returns:
        (B, T, D) after each layer, (B, 1, D) after the last where its last token alone is wanted; that of the model's
        last one is normalised, ready for the output head.
    """
    places = positions if "mrope_section" in language.config.rope_parameters else positions[0]
    cos, sin = (part.unsqueeze(1) for part in language.rotary_emb(embeddings.float(), places))
    hidden, states = embeddings, []
    for number, layer in enumerate(language.layers[:layers]):
        attention = layer.self_attn
        source = norm(layer.input_layernorm, hidden)
        first = embeddings.shape[1] - 1 if last_alone and number == len(language.layers) - 1 else 0
        hidden = hidden[:, first:]
        query = _heads(attention.q_proj(source[:, first:]), attention.head_dim)
        key, value = (
            _heads(projection(source), attention.head_dim) for projection in (attention.k_proj, attention.v_proj)
        )
        query, key = rotate(query, cos[:, :, first:], sin[:, :, first:]), rotate(key, cos, sin)
        if cache is not None:
            key, value = cache.extend(number, key, value)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, :, first:], enable_gqa=True)
        hidden = hidden + attention.o_proj(seen.transpose(1, 2).flatten(2))
        hidden = hidden + gated(layer.mlp, norm(layer.post_attention_layernorm, hidden))
        states.append(hidden)
    if layers is None:
        states[-1] = norm(language.norm, hidden)
    return states


def _heads(values: Tensor, width: int) -> Tensor:
    heads: Tensor = values.unflatten(-1, (-1, width))
    return heads.transpose(1, 2)


def _look(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor, real: Tensor | None, *, whole: bool) -> Tensor:
    """Vision attention over a window, or over the whole picture; nothing looks at patches that are not `real`."""
    batch, windows, length, _ = hidden.shape
    query, key, value = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    query, key = rotate(query, cos, sin), rotate(key, cos, sin)
    shape = (batch, windows * length) if whole else (batch * windows, length)
    query, key, value = (part.reshape(*shape, attention.num_heads, -1).transpose(1, 2) for part in (query, key, value))
    mask = None
    if real is not None:
        mask = real.view(1, 1, 1, -1) if whole else real.repeat(batch, 1)[:, None, None, :]
    seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    out: Tensor = attention.proj(seen.transpose(1, 2).reshape(batch, windows, length, -1))
    return out


def _received(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor, real: Tensor | None) -> Tensor:
    """(B, windows, tokens of a window) share of all attention that goes to each visual token."""
    query, key, _ = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    query, key = (rotate(part, cos, sin).flatten(1, 2).transpose(1, 2) for part in (query, key))
    scores = query @ key.transpose(2, 3) * attention.scaling
    if real is not None:
        flat = real.flatten()
        scores = scores.masked_fill(~flat, -torch.inf)[:, :, flat]
    mass: Tensor = scores.softmax(-1).mean((1, 2))
    return mass.view(*hidden.shape[:2], -1, 4).sum(-1)


# What is kept is made outside of inference mode, in which the first caller may be: training could not use it.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _real_patches(grid: _Grid, windows: _Grid) -> Tensor:
    """(windows, patches per window) bool, False where windows stick out of the picture."""
    rows, columns = (torch.arange(count * _WINDOW) < side for count, side in zip(windows, grid, strict=True))
    both = rows.view(-1, 1, _WINDOW, 1, 1) & columns.view(1, -1, 1, _WINDOW, 1)
    return both.expand(*windows, _WINDOW, _WINDOW, 4).reshape(math.prod(windows), -1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _patch_angles(width: int, windows: _Grid) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the vision tower's axial positions, (windows, patches per window, 1, head width)."""
    frequencies = 10000.0 ** -(torch.arange(0, width // 2, 2, dtype=torch.float32) / (width // 2))
    shape = (*windows, _WINDOW, _WINDOW, 2, 2)
    down, along = (torch.arange(count * _WINDOW * 2, dtype=torch.float32) for count in windows)
    rows = down.view(-1, 1, _WINDOW, 1, 2, 1).expand(shape).reshape(math.prod(windows), -1, 1)
    columns = along.view(1, -1, 1, _WINDOW, 1, 2).expand(shape).reshape(math.prod(windows), -1, 1)
    angles = torch.cat((rows * frequencies, columns * frequencies), dim=-1)
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(-2)
    return angles.cos(), angles.sin()
