"""Qwen2.5-VL with visual-token reduction.

The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.1.0.
"""

from __future__ import annotations

from vllm.model_executor.models import qwen2_5_vl as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.worker.mrope import ReducedMRopeMixin


class Qwen2_5_VLReductionProcessor(ReductionProcessorMixin, upstream.Qwen2_5_VLMultiModalProcessor):
    """Qwen2.5-VL's processor with a plan per image."""


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2_5_VLReductionProcessor,
    info=upstream.Qwen2_5_VLProcessingInfo,
    dummy_inputs=upstream.Qwen2_5_VLDummyInputsBuilder,
)
class Qwen2_5_VLForConditionalGeneration(ReducedMRopeMixin, upstream.Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL whose encoder output is reduced as each request asks."""

    supports_multimodal_pruning = True
    supports_encoder_tp_data = True
