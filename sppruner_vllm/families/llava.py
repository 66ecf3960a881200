"""LLaVA-1.5 with visual-token reduction.

The class is named like its parent because vLLM compares class names; it adds no weights. Version of the package when
the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vllm.model_executor.models import llava as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import Layout, TapPoints
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction.pieces import Piece

from .on_a_line import OnALineFamily, OnALineMixin, keep_three_rows, lengthens
from .turns import turns_of

_TOWERS: Final = {"clip_vision_model": "default", "siglip_vision_model": "full"}
"""Vision towers whose visual tokens are a square grid, and the feature selection that makes them so."""


class Llava(OnALineFamily):
    """A `Family` for LLaVA-1.5: every picture is one square of tokens, turns are opened by words."""

    openings: tuple[str, ...] = ("USER:", "ASSISTANT:")
    """What opens a turn, in the templates that are not ChatML."""

    def __init__(self, config: Any) -> None:
        """Args:
        config: the checkpoint's transformers configuration.
        """
        vision, text = config.vision_config, config.get_text_config()
        square = _TOWERS.get(vision.model_type) == config.vision_feature_select_strategy
        self.reduces = square and lengthens(text)
        self.image_token = int(config.image_token_index)
        self.media_tokens = {"image": self.image_token}
        self.row_width = self.word_width = int(text.hidden_size)
        self.lead = () if text.bos_token_id is None else (int(text.bos_token_id),)
        self._side = int(vision.image_size) // int(vision.patch_size)
        self._picture = (int(getattr(vision, "num_channels", 3)), int(vision.image_size), int(vision.image_size))

    def turns(self, tokenizer: Any) -> TurnFinder:
        return turns_of(tokenizer, self.openings, [self.image_token])

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        if self.reduces:
            return self._side, self._side
        return 1, int(info.get_num_image_tokens(image_width=width, image_height=height))

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        return ()

    def fixed_pixels(self, info: Any) -> int | None:
        return self._picture[1] * self._picture[2]

    def embedded_grid(self, item: Any) -> Grid:
        return self._square(item.shape[-2])

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        pictures = inputs.get("pixel_values", ())
        if any(tuple(picture.shape) != self._picture for picture in pictures):
            return f"pictures must be brought to {self._picture[1]} x {self._picture[2]} pixels"
        return None

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        if "pixel_values" in inputs:
            return [(self._side, self._side)] * len(inputs["pixel_values"])
        return [self._square(rows.shape[0]) for rows in inputs["image_embeds"]]

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        return [None] * len(self.grids(inputs))

    def rows_of_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Sequence[int] | None]:
        return {}

    def tap_points(self, model: Any) -> TapPoints:
        return TapPoints(None, model.multi_modal_projector.linear_1, 1, 1, None)

    def _square(self, tokens: int) -> Grid:
        """The grid of an image that came as embeddings; one of another count is a line."""
        return (self._side, self._side) if tokens == self._side**2 else (1, tokens)


class LlavaReductionProcessor(ReductionProcessorMixin, upstream.LlavaMultiModalProcessor):
    """LLaVA-1.5's processor with a plan per image."""

    family_of = Llava


class PixtralReductionProcessor(ReductionProcessorMixin, upstream.PixtralHFMultiModalProcessor):
    """The processor of Pixtral, which comes under the same name: it reduces nothing, and says so."""

    family_of = Llava


def _build_processor(info: Any, dummy_inputs: Any) -> Any:
    if isinstance(info, upstream.PixtralHFProcessingInfo):
        return PixtralReductionProcessor(info, dummy_inputs)
    return LlavaReductionProcessor(info, dummy_inputs)


@MULTIMODAL_REGISTRY.register_processor(
    _build_processor,
    info=judging(upstream._build_llava_or_pixtral_hf_info),
    dummy_inputs=upstream.LlavaDummyInputsBuilder,
)
class LlavaForConditionalGeneration(OnALineMixin, upstream.LlavaForConditionalGeneration):
    """LLaVA-1.5 whose encoder output is reduced as each request asks."""

    family_of = Llava
    supports_multimodal_pruning = True
    supports_mrope = True

    @staticmethod
    def prepare_config(config: Any) -> None:
        keep_three_rows(config, Llava(config))
