"""What Qwen's vision-language models have in common: ChatML, square visual tokens, M-RoPE, flat pixel rows.

GLM-4.1V has all but ChatML.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar

from torch import Tensor, nn

from sppruner_vllm import wire
from sppruner_vllm.family import Layout, MediaSpan, TapPoints, TextLayers, TowerCut, Videos
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.planning.videos import FrameGrid
from sppruner_vllm.reduction import Need
from sppruner_vllm.reduction.pieces import Piece
from sppruner_vllm.worker.original_positions import OriginalPositionsMixin
from sppruner_vllm.worker.reducing import ReducingMixin

from .chatml import chatml_turns
from .decoder_layers import text_layers


class QwenFamily(ABC):
    """A `Family` for checkpoints of the Qwen-VL line."""

    reduces = True
    cut: TowerCut | None = None
    videos: Videos | None
    still_row = 0
    closing: ClassVar[str] = "vision_end_token_id"
    """What a configuration calls the id behind a picture's tokens."""

    heard: frozenset[Need] = frozenset({"attention", "merger_input"})

    def __init__(self, config: Any) -> None:
        """Args:
        config: the checkpoint's transformers configuration.
        """
        self._config = config
        self._merge = int(config.vision_config.spatial_merge_size)
        text = config.get_text_config()
        self.image_token = int(config.image_token_id)
        self.media_tokens = {"image": self.image_token, "video": int(config.video_token_id)}
        # What stands before the question where a picture comes first.
        self.lead = (int(getattr(config, self.closing)),)
        self.cell = int(config.vision_config.patch_size) * self._merge
        self.row_width = self.word_width = int(text.hidden_size)
        self._table = 4 * _context(text)
        vision = config.vision_config
        self.fixed_kwargs = {
            "patch_size": int(vision.patch_size),
            "temporal_patch_size": int(vision.temporal_patch_size),
            "merge_size": self._merge,
        }
        # What vLLM's own positions of a video go by.
        self._positions_per_second = float(getattr(vision, "tokens_per_second", 1.0))
        self.videos = self._video_facts()
        channels = int(getattr(vision, "in_channels", 3))
        self._patch_width = channels * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2

    def most_positions(self, longest: int) -> int:
        return self._table - longest

    def turns(self, tokenizer: Any) -> TurnFinder:
        vision = (
            *self.media_tokens.values(),
            self._config.vision_start_token_id,
            self._config.vision_end_token_id,
        )
        return chatml_turns(tokenizer, vision)

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        size, _ = info._get_vision_info(
            image_width=width,
            image_height=height,
            image_processor=info.get_image_processor(**kwargs),
            mm_kwargs=kwargs,
        )
        return size.height // self.cell, size.width // self.cell

    def embedded_grid(self, item: Any) -> Grid:
        frames, height, width = item["image_grid_thw"].flatten().tolist()
        if frames != 1 or height % self._merge or width % self._merge:
            raise ValueError(f"no picture is {frames} x {height} x {width} patches")
        return self._merged((frames, height, width))

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        for name in ("pixel_values", "pixel_values_videos"):
            rows = inputs.get(name)
            if rows is not None and not (rows.ndim == 2 and rows.shape[1] == self._patch_width):
                return f"{name} must be rows of {self._patch_width} numbers"
        return None

    def extent(self, grid: Grid) -> int:
        return max(grid)

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        return [self._merged(grid) for grid in inputs["image_grid_thw"].tolist()]

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        return ()

    def fixed_pixels(self, info: Any) -> int | None:
        return None

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        return [None] * len(inputs["image_grid_thw"])

    def tokens_of(self, item: Mapping[str, Any], modality: str) -> int | None:
        name = f"{modality}_grid_thw"
        return int(item[name].data.prod()) // self._merge**2 if name in item else None

    def rows_of_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Sequence[int] | None]:
        tokens = [math.prod(grid) for grid in self.grids(inputs)]
        return {"pixel_values": [count * self._merge**2 for count in tokens], "image_embeds": tokens}

    def text_layers(self, model: Any) -> TextLayers | None:
        found = text_layers(model.get_language_model())
        return None if found is None else replace(found, rows=3)

    def packing_width(self, grid: Grid) -> int:
        return grid[1]

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        ordered = sorted(features, key=lambda feature: feature.mm_position.offset)
        return [
            MediaSpan(offset, feature.mm_position.length, (frames, height, width), step, kept_of_frames(feature))
            for feature, (offset, frames, height, width, step) in zip(
                ordered, model.iter_mm_grid_thw(ordered), strict=True
            )
        ]

    @abstractmethod
    def tap_points(self, model: Any) -> TapPoints:
        """Where the tower can be listened to; it is what the models of this line differ in."""

    def _video_facts(self) -> Videos:
        return Videos(
            together=True,
            pixels="pixel_values_videos",
            seconds="second_per_grid_ts",
            grids=self._video_grids,
            flat_inputs=self._flat_video_inputs,
            extent=self._video_extent,
            tokens=_video_tokens,
        )

    def _video_grids(self, inputs: Mapping[str, Any]) -> list[FrameGrid]:
        return [
            (frames, height // self._merge, width // self._merge)
            for frames, height, width in inputs["video_grid_thw"].tolist()
        ]

    def _flat_video_inputs(self, grids: Sequence[FrameGrid]) -> Mapping[str, list[int]]:
        tokens = [math.prod(grid) for grid in grids]
        return {"pixel_values_videos": [count * self._merge**2 for count in tokens], "video_embeds": tokens}

    def _video_extent(self, grid: FrameGrid, seconds: float) -> int:
        frames, height, width = grid
        return max(int((frames - 1) * seconds * self._positions_per_second) + 1, height, width)

    def _merged(self, grid: Sequence[int]) -> Grid:
        """Token grid of (frames, height, width) in patches."""
        frames, height, width = grid
        return frames * (height // self._merge), width // self._merge

    def _tap_points(self, model: Any, block: int, order: Callable[[Grid], Tensor] | None) -> TapPoints:
        """The taps of a tower whose attention is listened to in one block."""
        attention = model.visual.blocks[block].attn
        merger: nn.Module = model.visual.merger
        # The merger itself is compiled: its first norm is the first module inside that a hook can stand on.
        return TapPoints(attention.attn, merger.ln_q, self._merge**2, attention.tp_size, order)  # type: ignore[arg-type]


def _video_tokens(info: Any, width: int, height: int, frames: int) -> int:
    tokens: int = info.get_num_video_tokens(
        image_width=width,
        image_height=height,
        num_frames=frames,
        image_processor=info.get_hf_processor().video_processor,
        mm_kwargs={},
    )
    return tokens


def spans_of_frames(features: Sequence[Any], merge: int) -> list[MediaSpan]:
    """The images and frames of a prompt by ascending offset, where each frame is a medium of its own.

    Args:
        merge: patches along a side of a visual token.
    """
    ordered = sorted(features, key=lambda feature: feature.mm_position.offset)
    return [span for feature in ordered for span in _parts(feature, merge)]


def _parts(feature: Any, merge: int) -> Iterator[MediaSpan]:
    """An image, or the frames of a video."""
    place = feature.mm_position
    frames, height, width = feature.data[f"{feature.modality}_grid_thw"].data.tolist()
    grid = 1, height // merge, width // merge
    if feature.modality == "image":
        yield MediaSpan(place.offset, place.length, grid)
        return
    kept = kept_of_frames(feature) or (grid[1] * grid[2],) * frames
    rows = place.is_embed.nonzero().flatten().tolist()
    for count, before in zip(kept, accumulate(kept, initial=0), strict=False):
        yield MediaSpan(place.offset + rows[before], count, grid)


def kept_of_frames(feature: Any) -> tuple[int, ...]:
    """Rows that each frame keeps of a reduced video, as vLLM holds it; none of all else."""
    order = None if feature.modality != "video" or feature.data is None else wire.decode_item(feature.data)
    return () if order is None else order.frames


def _context(text: Any) -> int:
    """Positions by which vLLM sizes the rotary table, a quarter of it (layers/rotary_embedding, `get_rope`)."""
    rope = text.rope_parameters
    if rope.get("rope_type") == "yarn":
        return int(rope["original_max_position_embeddings"] * rope["factor"])
    return int(text.max_position_embeddings)


class QwenModelMixin(ReducingMixin, OriginalPositionsMixin):
    """Put before upstream's model class in the base-class list."""

    def get_encoder_cudagraph_config(self) -> Any:
        """No modality: a captured graph would return the encoder's rows unreduced."""
        return replace(super().get_encoder_cudagraph_config(), modalities=[])  # type: ignore[misc]
