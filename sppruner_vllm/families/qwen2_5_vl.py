"""Qwen2.5-VL with visual-token reduction.

The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from vllm.model_executor.models import qwen2_5_vl as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import LeftOut, TapPoints, TowerCut
from sppruner_vllm.planning.smaller import Grid

from .qwen import QwenFamily, QwenModelMixin
from .qwen2_5_vl_cut import encode_cut, repeats


class Qwen2_5_VL(QwenFamily):
    """Most blocks look at windows only, and the patches are ordered by window."""

    cut: TowerCut

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        vision = config.vision_config
        whole = vision.fullatt_block_indexes
        # The last of them sees all tokens again, so that a cut has to leave out a block before it.
        self.cut = TowerCut(min(whole), max(whole) - 2, _encode_cut, _repeats)

    def tap_points(self, model: Any) -> TapPoints:
        tower = model.visual

        def order(grid: Grid) -> Tensor:
            window_index: Tensor = tower.get_rope_by_thw(1, grid[0] * self._merge, grid[1] * self._merge)[2]
            return window_index

        return self._tap_points(model, max(tower.fullatt_block_indexes), order)


def _encode_cut(
    model: Any, inputs: Mapping[str, Any], left_out: Sequence[LeftOut], block: int | None, through: list[Tensor]
) -> list[Tensor]:
    if "pixel_values" not in inputs:  # rows, as the client sent them
        return list(upstream.Qwen2_5_VLForConditionalGeneration.embed_multimodal(model, **inputs))
    patches = inputs["image_grid_thw"].tolist()
    return encode_cut(model.visual, inputs["pixel_values"], patches, left_out, block, through)


def _repeats(model: Any, inputs: Mapping[str, Any]) -> list[Tensor | None]:
    patches = inputs["image_grid_thw"].tolist()
    return repeats(model.visual, inputs["pixel_values"], patches) if "pixel_values" in inputs else [None] * len(patches)


class Qwen2_5_VLReductionProcessor(ReductionProcessorMixin, upstream.Qwen2_5_VLMultiModalProcessor):
    """Qwen2.5-VL's processor with a plan per image."""

    family_of = Qwen2_5_VL


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2_5_VLReductionProcessor,
    info=judging(upstream.Qwen2_5_VLProcessingInfo),
    dummy_inputs=upstream.Qwen2_5_VLDummyInputsBuilder,
)
class Qwen2_5_VLForConditionalGeneration(QwenModelMixin, upstream.Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL whose encoder output is reduced as each request asks."""

    family_of = Qwen2_5_VL
    supports_multimodal_pruning = True
    supports_encoder_tp_data = True
