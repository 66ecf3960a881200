"""Qwen2.5-VL's vision tower with a cut: behind one of its blocks some visual tokens go on alone.

Window blocks see what is left of each window, at the original rotary positions. Blocks that look at the whole picture
still show all of it: dropped tokens take part as keys and values, as what they would be by then
(`reduction/survivors.py`). At the last such block they are back, and from there on all is upstream's own: nothing
behind the tower knows of the cut.
docs/develop/algorithm.md, "The cut inside the encoder".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from vllm.model_executor.layers.attention import MMEncoderAttention
from vllm.model_executor.models.utils import cast_overflow_tensors

from sppruner_vllm.reduction.survivors import joined, survivors


def encode_cut(
    tower: Any, pixels: Tensor, patches: Sequence[Sequence[int]], most: Sequence[int], block: int
) -> list[Tensor]:
    """Rows of pictures whose tokens are dropped behind a block.

    Args:
        tower: upstream's vision tower.
        pixels: (P, C) of all pictures, as upstream takes them. patches: (1, height, width) of each, in patches.
        most: visual tokens of each that go on.
        block: behind which the others wait, counted from 0, for the last block that looks at the whole picture.

    Returns:
        (N, D) of each picture, in raster order.
    """
    run, last = _Run(tower, patches), max(tower.fullatt_block_indexes)
    states = run.entered(pixels)
    for number in range(block + 1):
        states = run.upstream(number, states)
    behind = _Behind(run, states, most)
    for number in range(block + 1, last):
        behind.go_through(number)
    states = behind.restored()
    for number in range(last, len(tower.blocks)):
        states = run.upstream(number, states)
    return run.left(states)


@dataclass(frozen=True, slots=True)
class _Segments:
    """What an attention kernel wants to know of the pieces that do not see each other."""

    bounds: Tensor
    longest: Tensor
    lengths: Tensor | None


class _Run:
    """One pass of some pictures, as upstream's forward makes it (vLLM 0.32 and 0.33, models/qwen2_5_vl.py:1022)."""

    def __init__(self, tower: Any, patches: Sequence[Sequence[int]]) -> None:
        self.tower, self.patches = tower, [[int(side) for side in sides] for sides in patches]
        self.merged: int = tower.spatial_merge_unit
        self.sizes = [frames * height * width // self.merged for frames, height, width in self.patches]
        given = tower.prepare_encoder_metadata(self.patches)
        self._order, self._back = given["window_index"], given["reverse_indices"]
        self.cos, self.sin = given["rotary_pos_emb_cos"], given["rotary_pos_emb_sin"]
        self._whole = _Segments(given["cu_seqlens"], given["max_seqlen_full"], given["sequence_lengths_full"])
        self._windows = _Segments(
            given["cu_window_seqlens"], given["max_seqlen_window"], given["sequence_lengths_window"]
        )

    def entered(self, pixels: Tensor) -> Tensor:
        """(P, 1, F) patches in the tower's order."""
        tower = self.tower
        states = tower.patch_embed(tower.input_norm(pixels.to(device=tower.device), tower.dtype))
        return self.tokens(states)[self._order].view(-1, 1, states.shape[-1])

    def upstream(self, number: int, states: Tensor) -> Tensor:
        """A block over all patches; it may write into `states`."""
        whole = number in self.tower.fullatt_block_indexes
        return self.through(number, states, self._whole if whole else self._windows, self.cos, self.sin)

    def through(self, number: int, states: Tensor, segments: _Segments, cos: Tensor, sin: Tensor) -> Tensor:
        out: Tensor = self.tower.blocks[number](
            states,
            cu_seqlens=segments.bounds,
            rotary_pos_emb_cos=cos,
            rotary_pos_emb_sin=sin,
            max_seqlen=segments.longest,
            sequence_lengths=segments.lengths,
        )
        return out

    def tokens(self, states: Tensor) -> Tensor:
        """(N, patches of a token, F) of (P, F) or (P, 1, F)."""
        return states.view(-1, self.merged, states.shape[-1])

    def windows_of(self, kept: Tensor) -> _Segments:
        """The windows that still hold one of these tokens."""
        # The one wait for the device: attention kernels want the lengths of their segments from the host.
        places = kept.to("cpu").numpy()
        ends = [
            offset * self.merged + self.tower.get_rope_by_thw(*sides)[3].numpy()
            for offset, sides in zip(accumulate(self.sizes, initial=0), self.patches, strict=False)
        ]
        window = np.searchsorted(np.concatenate(ends), places * self.merged, side="right")
        counts = np.unique(window, return_counts=True)[1] * self.merged
        bounds = np.concatenate(([0], counts.cumsum())).astype(np.int32)
        tower, backend = self.tower, self.tower.attn_backend
        return _Segments(
            MMEncoderAttention.maybe_recompute_cu_seqlens(
                backend,
                bounds,
                tower.hidden_size,
                tower.tp_size,
                tower.device,
                fp8_padded_hidden_size=tower.fp8_padded_hidden_size,
            ),
            torch.tensor(MMEncoderAttention.compute_max_seqlen(backend, bounds), dtype=torch.int32),
            MMEncoderAttention.maybe_compute_seq_lens(backend, bounds, tower.device),
        )

    def left(self, states: Tensor) -> list[Tensor]:
        """The rows of each picture, of (P, 1, F) patches behind the last block."""
        if states.dtype == torch.float16:
            states = cast_overflow_tensors(states)
        rows: Tensor = self.tower.merger(states)[self._back]
        return list(rows.split(self.sizes))


class _Behind:
    """The blocks behind the cut."""

    def __init__(self, run: _Run, states: Tensor, most: Sequence[int]) -> None:
        """Args:
        states: (P, 1, F) of all patches at the cut. most: visual tokens of each picture that go on.
        """
        tokens = run.tokens(states).flatten(1)
        each = [survivors(own, count) for own, count in zip(tokens.split(run.sizes), most, strict=True)]
        self._run, self._survivors = run, joined(each, run.sizes)
        self._start = tokens
        self._now = self._of_survivors(tokens).view(-1, 1, states.shape[-1])
        self._windows = run.windows_of(self._survivors.kept)
        self._cos, self._sin = (self._of_survivors(run.tokens(table)).flatten(0, 1) for table in (run.cos, run.sin))
        self._counts = [count * run.merged for count in most]

    def go_through(self, number: int) -> None:
        """One more block; the survivors change, in place of their states before."""
        run = self._run
        if number not in run.tower.fullatt_block_indexes:
            self._now = run.through(number, self._now, self._windows, self._cos, self._sin)
            return
        block = run.tower.blocks[number]
        seen = self._look_at_whole(block.attn, block.norm1(self.restored()))
        normed, states = block.norm2(self._now, residual=seen)
        self._now = states + block.mlp(normed)

    def restored(self) -> Tensor:
        """(P, 1, F) of all patches as they are now."""
        whole = self._survivors.restored(self._start, self._run.tokens(self._now).flatten(1))
        return whole.view(-1, 1, self._now.shape[-1])

    def _look_at_whole(self, attention: Any, states: Tensor) -> Tensor:
        """What an attention over whole pictures gives the survivors; queries are theirs alone."""
        run = self._run
        mixed, _ = attention.qkv(states)
        query, key, value = mixed.view(len(states), 3, -1, attention.hidden_size_per_attention_head).unbind(1)
        turned = attention.apply_rotary_emb(torch.stack((query, key)), run.cos, run.sin)
        query, key = self._of_survivors(turned[0].view(-1, run.merged, *turned.shape[2:])).flatten(0, 1), turned[1]
        sizes = [size * run.merged for size in run.sizes]
        images = list(zip(query.split(self._counts), key.split(sizes), value.split(sizes), strict=True))
        seen = [_attended(*parts, attention.attn.scale) for parts in images]
        out: Tensor = attention.proj(torch.cat(seen).flatten(1).unsqueeze(1))[0]
        return out

    def _of_survivors(self, tokens: Tensor) -> Tensor:
        return tokens.index_select(0, self._survivors.kept)


def _attended(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """(Q, heads, d) of a query (Q, heads, d) that looks at all of a picture, key and value (P, heads, d)."""
    one, other, carried = (part.transpose(0, 1).unsqueeze(0) for part in (query, key, value))
    return scaled_dot_product_attention(one, other, carried, scale=scale)[0].transpose(0, 1)
