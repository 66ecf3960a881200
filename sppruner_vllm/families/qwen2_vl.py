"""Qwen2-VL with visual-token reduction.

The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file; upstream's class has no `supports_multimodal_pruning`. Version of the package when
the flags last changed: 0.2.0.
"""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models import qwen2_vl as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import TapPoints

from .qwen import QwenFamily, QwenModelMixin


class Qwen2VL(QwenFamily):
    """Every block looks at the whole picture, in raster order of the visual tokens."""

    def tap_points(self, model: Any) -> TapPoints:
        return self._tap_points(model, -1, None)


class Qwen2VLReductionProcessor(ReductionProcessorMixin, upstream.Qwen2VLMultiModalProcessor):
    """Qwen2-VL's processor with a plan per image."""

    family_of = Qwen2VL


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2VLReductionProcessor,
    info=judging(upstream.Qwen2VLProcessingInfo),
    dummy_inputs=upstream.Qwen2VLDummyInputsBuilder,
)
class Qwen2VLForConditionalGeneration(QwenModelMixin, upstream.Qwen2VLForConditionalGeneration):
    """Qwen2-VL whose encoder output is reduced as each request asks."""

    family_of = Qwen2VL
    supports_multimodal_pruning = True
    supports_encoder_tp_data = True
