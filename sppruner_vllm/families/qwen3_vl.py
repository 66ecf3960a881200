"""Qwen3-VL with visual-token reduction.

A row holds a token's embedding and, behind it, what DeepStack adds to the first layers of the language model: one more
embedding for each level. They are kept or dropped together, as one row. A frame of a video is a medium of its own, with
its time written before it as text.
The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vllm.model_executor.models import qwen3_vl as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import MediaSpan, TapPoints, Videos
from sppruner_vllm.planning.videos import FrameGrid

from .qwen import QwenFamily, QwenModelMixin, spans_of_frames


class Qwen3VL(QwenFamily):
    """Every block looks at the whole picture, in raster order of the visual tokens.

    No cut: DeepStack takes the states of all tokens behind several blocks, so all have to be there.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        vision = config.vision_config
        self.row_width = int(vision.out_hidden_size) * (1 + len(vision.deepstack_visual_indexes))

    def tap_points(self, model: Any) -> TapPoints:
        attention = model.visual.blocks[-1].attn
        return TapPoints(attention.attn, model.visual.merger.norm, self._merge**2, attention.tp_size, None)

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        return spans_of_frames(features, self._merge)

    def _video_facts(self) -> Videos:
        # Its processor shows fewer frames than it is given, by their times, and fails on a single one.
        return replace(super()._video_facts(), together=False, extent=_extent, tokens=None, least=2)


def _extent(grid: FrameGrid, _: float) -> int:
    """Each frame counts like a picture."""
    frames, height, width = grid
    return frames * max(height, width)


class Qwen3VLReductionProcessor(ReductionProcessorMixin, upstream.Qwen3VLMultiModalProcessor):
    """Qwen3-VL's processor with a plan per image."""

    family_of = Qwen3VL


@MULTIMODAL_REGISTRY.register_processor(
    Qwen3VLReductionProcessor,
    info=judging(upstream.Qwen3VLProcessingInfo),
    dummy_inputs=upstream.Qwen3VLDummyInputsBuilder,
)
class Qwen3VLForConditionalGeneration(QwenModelMixin, upstream.Qwen3VLForConditionalGeneration):
    """Qwen3-VL whose encoder output is reduced as each request asks."""

    family_of = Qwen3VL
    supports_multimodal_pruning = True
    supports_encoder_tp_data = True
