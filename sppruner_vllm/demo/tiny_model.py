"""Writes a complete, tiny Qwen2.5-VL checkpoint with seeded random weights.

It has every mechanism of the real model (window and full vision attention, 3-D positions, Qwen2.5-VL's image limits) at
a few million parameters. It has learnt nothing: its answers are noise, only counts and timings mean something.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

BUILDER_VERSION: Final = 2
"""Raise it when the same spec would give other files: existing folders are then rebuilt."""

STAMP: Final = "tiny-model.json"


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


def build_tiny_model(folder: Path, spec: TinyModelSpec = TinyModelSpec()) -> Path:
    """Write the checkpoint of `spec` to `folder`, unless it is there already.

    Written beside the target and moved into place, so that an interrupted build leaves no half model.

    Args:
        folder: replaced when it holds another spec or an older version.
        spec: sizes and seed; the same spec gives the same bytes.

    Returns:
        `folder`.
    """
    if is_built(folder, spec):
        return folder
    from .checkpoint import write_checkpoint  # late: finding a finished model takes no torch

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        draft = Path(scratch) / "model"
        write_checkpoint(draft, spec)
        (draft / STAMP).write_text(spec.stamp)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder


def is_built(folder: Path, spec: TinyModelSpec = TinyModelSpec()) -> bool:
    """Whether `folder` holds a finished checkpoint of exactly this spec and builder version."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == spec.stamp
