"""LLaVA-OneVision with visual-token reduction: LLaVA-NeXT's tiles, of which a mosaic that is too large is shrunk.

Videos are served whole. The class is named like its parent because vLLM compares class names; it adds no weights.
Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vllm.model_executor.models import llava_onevision as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageSize

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin

from .anyres import tiler_of
from .llava_next import LlavaNext
from .on_a_line import OnALineMixin, keep_three_rows

_MOST_TILES: Final = 9
"""vLLM 0.32 and 0.33 shrink to as many whatever the checkpoint says (models/llava_onevision.py, "anyres_max_9")."""


class LlavaOnevision(LlavaNext):
    """A `Family` for LLaVA-OneVision, whose language model speaks ChatML."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.tiler = tiler_of(config, most=_MOST_TILES)
        self.media_tokens = {"image": self.image_token, "video": int(config.video_token_index)}

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        if any(tuple(video.shape[1:]) != self._picture for video in inputs.get("pixel_values_videos", ())):
            return f"frames must be brought to {self._picture[1]} x {self._picture[2]} pixels"
        return super().misfit(inputs)


class LlavaOnevisionInfo(upstream.LlavaOnevisionProcessingInfo):
    """Upstream's, which knows the picture of most tokens of the usual checkpoints alone: others tile otherwise."""

    def get_image_size_with_most_features(self) -> ImageSize:
        usual = super().get_image_size_with_most_features()
        mosaics = (ImageSize(width, height) for height, width in self.get_hf_config().image_grid_pinpoints)
        return max((usual, *mosaics), key=self._tokens)

    def _tokens(self, size: ImageSize) -> int:
        return int(self.get_num_image_tokens(image_width=size.width, image_height=size.height))


class LlavaOnevisionReductionProcessor(ReductionProcessorMixin, upstream.LlavaOnevisionMultiModalProcessor):
    """LLaVA-OneVision's processor with a plan per image."""

    family_of = LlavaOnevision


@MULTIMODAL_REGISTRY.register_processor(
    LlavaOnevisionReductionProcessor,
    info=judging(LlavaOnevisionInfo),
    dummy_inputs=upstream.LlavaOnevisionDummyInputsBuilder,
)
class LlavaOnevisionForConditionalGeneration(OnALineMixin, upstream.LlavaOnevisionForConditionalGeneration):
    """LLaVA-OneVision whose encoder output is reduced as each request asks."""

    family_of = LlavaOnevision
    supports_multimodal_pruning = True
    supports_mrope = True

    @staticmethod
    def prepare_config(config: Any) -> None:
        keep_three_rows(config, LlavaOnevision(config))
