"""One pass of pictures through Qwen2.5-VL's vision tower, block by block, on upstream's own modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.model_executor.layers.attention import MMEncoderAttention
from vllm.model_executor.models.utils import cast_overflow_tensors


@dataclass(frozen=True, slots=True)
class Segments:
    """What an attention kernel wants to know of the pieces that do not see each other."""

    bounds: Tensor
    longest: Tensor
    lengths: Tensor | None


class TowerRun:
    """One pass of some pictures, as upstream's forward makes it (vLLM 0.32 and 0.33, models/qwen2_5_vl.py:1022).

    merged: patches of a visual token. sizes: visual tokens of each picture. order: (N,) int64, their raster places in
    the tower's order. cos, sin: rotary tables of all patches in that order.
    """

    def __init__(self, tower: Any, patches: Sequence[Sequence[int]]) -> None:
        self.tower, self._patches = tower, [[int(side) for side in sides] for sides in patches]
        self.merged: int = tower.spatial_merge_unit
        self.sizes = [frames * height * width // self.merged for frames, height, width in self._patches]
        given = tower.prepare_encoder_metadata(self._patches)
        self.order: Tensor = given["window_index"]
        self._back = given["reverse_indices"]
        self.cos, self.sin = given["rotary_pos_emb_cos"], given["rotary_pos_emb_sin"]
        self._whole = Segments(given["cu_seqlens"], given["max_seqlen_full"], given["sequence_lengths_full"])
        self._windows = Segments(
            given["cu_window_seqlens"], given["max_seqlen_window"], given["sequence_lengths_window"]
        )

    def entered(self, pixels: Tensor, places: Tensor | None = None) -> Tensor:
        """(P, 1, F) patches in the tower's order.

        Args:
            places: of the visual tokens that enter, in that order; None for all.
        """
        tower = self.tower
        pixels = pixels.to(device=tower.device)
        if places is None:
            states = tower.patch_embed(tower.input_norm(pixels, tower.dtype))
            return self.tokens(states)[self.order].view(-1, 1, states.shape[-1])
        own = self.tokens(pixels).index_select(0, self.order.index_select(0, places)).flatten(0, 1)
        embedded: Tensor = tower.patch_embed(tower.input_norm(own, tower.dtype))
        return embedded.unsqueeze(1)

    def upstream(self, number: int, states: Tensor) -> Tensor:
        """A block over all patches; it may write into `states`."""
        whole = number in self.tower.fullatt_block_indexes
        return self.through(number, states, self._whole if whole else self._windows, self.cos, self.sin)

    def through(self, number: int, states: Tensor, segments: Segments, cos: Tensor, sin: Tensor) -> Tensor:
        """A block over some patches, (P, 1, F), in segments that do not see each other."""
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

    def spread(self, over: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        """(P, 1, F) of fewer patches (Q, 1, F), by what brings fewer tokens to more."""
        return over(self.tokens(states)).view(-1, 1, states.shape[-1])

    def window_ends(self) -> list[int]:
        """Where each window ends, in visual tokens, in the tower's order; pictures one after the other."""
        return [
            offset + int(end) // self.merged
            for offset, sides in zip(accumulate(self.sizes, initial=0), self._patches, strict=False)
            for end in self.tower.get_rope_by_thw(*sides)[3].tolist()
        ]

    def windows_of(self, kept: Tensor) -> tuple[Segments, list[int]]:
        """The windows that still hold one of these tokens, and how many patches each picture still has."""
        # The one wait for the device: attention kernels want the lengths of their segments from the host.
        places = kept.to("cpu").numpy()
        window = np.searchsorted(self.window_ends(), places, side="right")
        counts = np.unique(window, return_counts=True)[1] * self.merged
        bounds = np.concatenate(([0], counts.cumsum())).astype(np.int32)
        tower, backend = self.tower, self.tower.attn_backend
        segments = Segments(
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
        below = np.searchsorted(places, list(accumulate(self.sizes)))
        return segments, (np.diff(below, prepend=0) * self.merged).tolist()

    def left(self, states: Tensor) -> list[Tensor]:
        """The rows of each picture, of (P, 1, F) patches behind the last block."""
        if states.dtype == torch.float16:
            states = cast_overflow_tensors(states)
        rows: Tensor = self.tower.merger(states)[self._back]
        return list(rows.split(self.sizes))
