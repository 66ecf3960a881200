"""The sizes of a tiny Qwen2.5-VL."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

BUILDER_VERSION: Final = 2
"""Raise it when the same spec would give other files: existing folders are then rebuilt."""


@dataclass(frozen=True, slots=True)
class TinyModelSpec:
    """Sizes of the model; the defaults give some 4 M parameters.

    Sizes are in features, except `layers`, `vision_depth` (blocks) and `max_position` (tokens). The vision blocks in
    `whole_image_blocks` attend to the whole image, the others within windows of 112 pixels. rope_theta: base of the
    language model's rotary frequencies.
    """

    seed: int = 0
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 512
    vision_hidden: int = 128
    vision_depth: int = 4
    vision_heads: int = 4
    vision_intermediate: int = 256
    whole_image_blocks: tuple[int, ...] = (3,)
    rope_theta: float = 1_000_000.0
    max_position: int = 32768
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def mrope_section(self) -> tuple[int, int, int]:
        """Rotary frequency pairs for time, height and width: 1/4, 3/8 and 3/8 of half a head, as in Qwen2.5-VL."""
        half = self.hidden // self.heads // 2
        side = half * 3 // 8
        return half - 2 * side, side, side

    @property
    def stamp(self) -> str:
        """What a folder built from this spec contains in its stamp file."""
        return json.dumps({"builder": BUILDER_VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n"
