"""GLM-4.1V with visual-token reduction: Qwen2.5-VL's visual tokens and positions, another encoder and other turns.

Videos are served whole: their frames stand in the prompt as pictures do, under the same id, with times between them.
The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from transformers.models.glm4v.image_processing_glm4v import smart_resize
from vllm.model_executor.models import glm4_1v as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import MediaSpan, TapPoints
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.smaller import Grid

from .qwen import QwenFamily, QwenModelMixin, spans_of_frames
from .turns import spoken_turns

_OPENINGS: Final = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


class Glm4v(QwenFamily):
    """A `Family` for GLM-4.1V. Every block looks at the whole picture, in raster order of the visual tokens."""

    closing: ClassVar[str] = "image_end_token_id"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.videos = None

    def turns(self, tokenizer: Any) -> TurnFinder:
        config = self._config
        marks = (
            *self.media_tokens.values(),
            *(config.image_start_token_id, config.image_end_token_id),
            *(config.video_start_token_id, config.video_end_token_id),
        )
        return spoken_turns(tokenizer, _OPENINGS, marks)

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        # Not by vLLM's own count, which knows no smallest size (models/glm4_1v.py, `_get_vision_info`).
        processor = info.get_image_processor(**kwargs)
        frames = processor.temporal_patch_size
        resized = smart_resize(
            num_frames=frames,
            height=height,
            width=width,
            temporal_factor=frames,
            factor=self.cell,
            min_pixels=processor.size["shortest_edge"],
            max_pixels=processor.size["longest_edge"],
        )
        return resized[0] // self.cell, resized[1] // self.cell

    def tap_points(self, model: Any) -> TapPoints:
        attention, tower = model.visual.blocks[-1].attn, model.visual
        return TapPoints(attention.attn, tower.post_layernorm, self._merge**2, attention.tp_size, None)

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        return spans_of_frames(features, self._merge)


class Glm4vReductionProcessor(ReductionProcessorMixin, upstream.Glm4vMultiModalProcessor):
    """GLM-4.1V's processor with a plan per image."""

    family_of = Glm4v


@MULTIMODAL_REGISTRY.register_processor(
    Glm4vReductionProcessor,
    info=judging(upstream.Glm4vProcessingInfo),
    dummy_inputs=upstream.Glm4vDummyInputsBuilder,
)
class Glm4vForConditionalGeneration(QwenModelMixin, upstream.Glm4vForConditionalGeneration):
    """GLM-4.1V whose encoder output is reduced as each request asks."""

    family_of = Glm4v
    supports_multimodal_pruning = True
    supports_encoder_tp_data = True

    def _frames(self, ids: list[int] | Tensor, device: torch.device) -> Tensor | None:
        """Placeholders that stand alone: frames of one token, for no such picture is reduced."""
        given = ids if isinstance(ids, Tensor) else torch.tensor(ids, device=device)
        ours = given == self.family.image_token
        edge = ours.new_zeros(1)
        return ours & ~torch.cat((edge, ours[:-1])) & ~torch.cat((ours[1:], edge))
