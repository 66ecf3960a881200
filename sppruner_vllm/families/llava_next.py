"""LLaVA-NeXT (LLaVA-1.6) with visual-token reduction: a base view and a mosaic of tiles, each selected from by itself.

The class is named like its parent because vLLM compares class names; it adds no weights. Version of the package when
the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.model_executor.models import llava_next as upstream
from vllm.model_executor.models.llava import LlavaDummyInputsBuilder
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import Layout
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction.pieces import Piece

from .anyres import Tiler, tiler_of
from .llava import Llava
from .on_a_line import OnALineMixin, keep_three_rows


class LlavaNext(Llava):
    """A `Family` for LLaVA-NeXT, whose language models speak Vicuna's, Mistral's, Llama 3's or Qwen's template.

    The grid of an image is the line of its rows: what grids are among them says its layout.
    """

    openings = (
        *Llava.openings,
        *("[INST]", "[/INST]"),
        *(f"<|start_header_id|>{role}<|end_header_id|>" for role in ("system", "user", "assistant")),
    )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.tiler: Tiler = tiler_of(config)

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        return 1, int(info.get_num_image_tokens(image_width=width, image_height=height))

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        return self.tiler.of(height, width).pieces

    def fixed_pixels(self, info: Any) -> int | None:
        return self.tiler.most_pixels

    def embedded_grid(self, item: Any) -> Grid:
        return 1, int(item.shape[-2])

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        pictures = inputs.get("pixel_values", ())
        for picture, size in zip(pictures, inputs.get("image_sizes", ()), strict=False):
            if tuple(picture.shape[1:]) != self._picture:
                return f"tiles must be brought to {self._picture[1]} x {self._picture[2]} pixels"
            height, width = (int(side) for side in size)
            down, across = self.tiler.of(height, width).tiles
            if len(picture) < 1 + down * across:
                return f"a picture of {width} x {height} pixels must have {down * across} tiles beside its base"
        return None

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        if "pixel_values" in inputs:
            return [(1, layout.rows) for layout in self._tiled(inputs)]
        return [(1, len(rows)) for rows in inputs["image_embeds"]]

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        if "pixel_values" in inputs:
            return self._tiled(inputs)
        return [None] * len(inputs["image_embeds"])

    def _tiled(self, inputs: Mapping[str, Any]) -> list[Layout]:
        """Of each picture; pixels of those that were processed together have as many tiles as the largest."""
        return [
            self.tiler.of(height, width).padded(len(picture))
            for picture, (height, width) in zip(inputs["pixel_values"], inputs["image_sizes"].tolist(), strict=True)
        ]


class LlavaNextReductionProcessor(ReductionProcessorMixin, upstream.LlavaNextMultiModalProcessor):
    """LLaVA-NeXT's processor with a plan per image."""

    family_of = LlavaNext


@MULTIMODAL_REGISTRY.register_processor(
    LlavaNextReductionProcessor,
    info=judging(upstream.LlavaNextProcessingInfo),
    dummy_inputs=LlavaDummyInputsBuilder,
)
class LlavaNextForConditionalGeneration(OnALineMixin, upstream.LlavaNextForConditionalGeneration):
    """LLaVA-NeXT whose encoder output is reduced as each request asks."""

    family_of = LlavaNext
    supports_multimodal_pruning = True
    supports_mrope = True

    @staticmethod
    def prepare_config(config: Any) -> None:
        keep_three_rows(config, LlavaNext(config))
