"""A Qwen2.5-VL with random weights: its encoder with and without a cut, the selection, its prefill."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLTextModel,
)

from sppruner_vllm.reduction import DEFAULT_METHOD, ImageTokens, reduce
from sppruner_vllm.reduction.core.ranking import rows_of
from sppruner_vllm.reduction.survivors import joined, survivors

from .attending import attended, turned
from .cut import Behind
from .shapes import AFTER, BEFORE, MERGE, Shape


class Model:
    """Random weights of one shape, on one device."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        sizes = shape.language
        text = Qwen2_5_VLTextConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.hidden,
            intermediate_size=sizes.intermediate,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.kv_heads,
            max_position_embeddings=128_000,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [
                    sizes.head_width // 8,
                    sizes.head_width * 3 // 16,
                    sizes.head_width // 2 - sizes.head_width // 8 - sizes.head_width * 3 // 16,
                ],
            },
        )
        vision = Qwen2_5_VLVisionConfig(
            depth=shape.depth,
            hidden_size=shape.vision_hidden,
            intermediate_size=shape.vision_intermediate,
            num_heads=shape.vision_heads,
            out_hidden_size=sizes.hidden,
            fullatt_block_indexes=list(shape.whole),
            window_size=shape.window * MERGE * 14,
        )
        with torch.device(device):
            self.tower: Any = Qwen2_5_VisionTransformerPretrainedModel._from_config(vision, dtype=dtype).eval()
            self.language: Any = Qwen2_5_VLTextModel._from_config(text, dtype=dtype, attn_implementation="sdpa").eval()
            head = torch.empty(0 if shape.tied else sizes.vocabulary, sizes.hidden, dtype=dtype)
        table = self.language.embed_tokens.weight
        self.head: Tensor = table if shape.tied else head.normal_(std=0.02)
        self.text_mean = table.mean(0, dtype=torch.float32)

    def encode(self, pixels: Tensor, side: int, survivors: int | None = None, block: int = 0) -> Tensor:
        """(images, N, D) rows in raster order.

        Args:
            pixels: (images, 4 N, C) patches, the four of a token side by side. side: of the pictures, in tokens; a
                multiple of a window's. survivors: tokens of each that go on behind `block`, up to
                the last block that looks at the whole picture; None for all.
        """
        order, back, cos, sin = self._places(side)
        states = self.tower.patch_embed(pixels.flatten(0, 1)).view(len(pixels), side * side, MERGE**2, -1)
        states = states[:, order].flatten(1, 2)
        for number in range(self.shape.depth):
            if survivors is None or not block < number < self.shape.whole[-1]:
                states = self._block(number, states, cos, sin)
            elif number == block + 1:
                states = self._cut(states, cos, sin, survivors, block)
        rows: Tensor = self.tower.merger(states.flatten(0, 1)).view(len(pixels), side * side, -1)
        return rows[:, back]

    def _places(self, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Order of the tokens by windows, the way back, and the rotary tables (4 N, head width) in that order."""
        window, count = self.shape.window, side // self.shape.window
        raster = torch.arange(side * side, device=self.device)
        order = raster.view(count, window, count, window).transpose(1, 2).flatten()
        unit = torch.arange(MERGE, device=self.device)
        rows = (order // side * MERGE)[:, None, None] + unit[:, None].expand(MERGE, MERGE)
        columns = (order % side * MERGE)[:, None, None] + unit.expand(MERGE, MERGE)
        width = self.shape.vision_hidden // self.shape.vision_heads // 2
        slow = 10_000.0 ** (-torch.arange(0, width, 2, device=self.device) / width)
        angle = torch.cat([places.flatten()[:, None] * slow for places in (rows, columns)], dim=1).repeat(1, 2)
        return order, order.argsort(), angle.cos().to(self.dtype), angle.sin().to(self.dtype)

    def _block(self, number: int, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """A block of the tower over all patches, (images, 4 N, F); a window is as long as any other."""
        block = self.tower.blocks[number]
        query, key, value = self._mixed(block, states, cos, sin)
        patches = states.shape[1] if number in self.shape.whole else self.shape.window**2 * MERGE**2
        query, key, value = (part.reshape(-1, patches, *part.shape[2:]) for part in (query, key, value))
        return _left(block, states, attended(query, key, value))

    def _mixed(self, block: Any, states: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a block, (images, P, heads, d) each, turned to their places."""
        query, key, value = (
            block.attn.qkv(block.norm1(states)).unflatten(-1, (3, self.shape.vision_heads, -1)).unbind(2)
        )
        return turned(query, cos, sin), turned(key, cos, sin), value

    def _cut(self, states: Tensor, cos: Tensor, sin: Tensor, most: int, block: int) -> Tensor:
        """States of all patches in front of the last block that looks at the whole picture.

        Args:
            states: (images, 4 N, F) behind `block`, where only `most` tokens of each picture go on.
            cos, sin: (4 N, head width).
        """
        tokens = states.shape[1] // MERGE**2
        start = states.unflatten(1, (tokens, -1)).flatten(2)
        left = joined([survivors(picture, most) for picture in start], [tokens] * len(states))
        behind = Behind(left, start.flatten(0, 1), states.shape)
        own = [table.view(tokens, MERGE**2, -1)[left.kept % tokens].flatten(0, 1) for table in (cos, sin)]
        own = [table.view(len(states), -1, table.shape[-1]) for table in own]
        for number in range(block + 1, self.shape.whole[-1]):
            module = self.tower.blocks[number]
            if number in self.shape.whole:
                query, key, value = self._mixed(module, behind.restored(), cos, sin)
                seen = attended(behind.of_survivors(query), key, value)
            else:
                seen = behind.in_windows(self._mixed(module, behind.now, *own), self.shape.window**2)
            behind.now = _left(module, behind.now, seen)
        return behind.restored()

    def select(self, rows: Tensor, question: Tensor, side: int, kept: int) -> Tensor:
        """(images, K) int64 tokens that each picture keeps."""
        images = [
            # What layers read in a question is as long as its words are.
            ImageTokens(image, (side, side), words, kept, states=words - self.text_mean)
            for image, words in zip(rows, question, strict=True)
        ]
        return torch.stack([chosen.kept for chosen in reduce(images, DEFAULT_METHOD, text_mean=self.text_mean)])

    def prefill(self, rows: Tensor, text: Tensor, kept: Tensor | None, side: int) -> Tensor:
        """(images, vocabulary) scores of the first answer token.

        Args:
            rows: (images, N, D). text: (images, BEFORE + AFTER, D). kept: (images, K), or None for all.
        """
        if kept is None:
            kept = torch.arange(side * side, device=self.device).expand(len(rows), -1)
        else:
            rows = rows_of(rows, kept)
        states = self.language(
            inputs_embeds=torch.cat([text[:, :BEFORE], rows, text[:, BEFORE:]], dim=1),
            position_ids=positions(kept, side),
            use_cache=False,
        ).last_hidden_state
        return linear(states[:, -1], self.head)


def positions(kept: Tensor, side: int) -> Tensor:
    """(3, images, BEFORE + K + AFTER) rotary positions, those that the tokens have in the unreduced prompt.

    Args:
        kept: (images, K) int64 raster indices.
    """
    places = torch.stack([torch.zeros_like(kept), kept // side, kept % side]) + BEFORE
    before = torch.arange(BEFORE, device=kept.device).expand(3, len(kept), -1)
    after = torch.arange(AFTER, device=kept.device).expand(3, len(kept), -1) + BEFORE + side
    return torch.cat([before, places, after], dim=2)


def _left(block: Any, states: Tensor, seen: Tensor) -> Tensor:
    """States (images, P, F) behind a block whose attention has seen (S, Q, heads, d)."""
    states = states + block.attn.proj(seen.reshape(states.shape))
    return states + block.mlp(block.norm2(states))  # type: ignore[no-any-return]
