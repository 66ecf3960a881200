"""Qwen3-VL with experts: all that a reduction meets is the dense model's.

The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from vllm.model_executor.models import qwen3_vl, qwen3_vl_moe
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging

from .qwen import QwenModelMixin
from .qwen3_vl import Qwen3VL, Qwen3VLReductionProcessor


@MULTIMODAL_REGISTRY.register_processor(
    Qwen3VLReductionProcessor,
    info=judging(qwen3_vl_moe.Qwen3VLMoeProcessingInfo),
    dummy_inputs=qwen3_vl.Qwen3VLDummyInputsBuilder,
)
class Qwen3VLMoeForConditionalGeneration(QwenModelMixin, qwen3_vl_moe.Qwen3VLMoeForConditionalGeneration):
    """Qwen3-VL with experts, whose encoder output is reduced as each request asks."""

    family_of = Qwen3VL
    supports_multimodal_pruning = True
    supports_encoder_tp_data = True
