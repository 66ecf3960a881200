"""LLaVA-1.5 with visual-token reduction.

The class is named like its parent because vLLM compares class names; it adds no weights. Version of the package when
the flags last changed: 0.2.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vllm.model_executor.models import llava as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from sppruner_vllm import wire
from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import Layout, MediaSpan, TapPoints, TextLayers
from sppruner_vllm.planning.query import SpokenTurns, TurnFinder
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import Need
from sppruner_vllm.reduction.pieces import Piece

from .chatml import chatml_turns, speaks_chatml
from .decoder_layers import text_layers
from .on_a_line import STILL_ROW, OnALineMixin, keep_three_rows, lengthens

_TOWERS: Final = {"clip_vision_model": "default", "siglip_vision_model": "full"}
"""Vision towers whose visual tokens are a square grid, and the feature selection that makes them so."""

_BLANKS: Final = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})
"""How tokenizers write blanks inside a token."""


class Llava:
    """A `Family` for LLaVA-1.5: every picture is one square of tokens, turns are opened by words."""

    cell = None
    cut = None
    videos = None
    still_row = STILL_ROW
    openings: tuple[str, ...] = ("USER:", "ASSISTANT:")
    """What opens a turn, in the templates that are not ChatML."""
    heard: frozenset[Need] = frozenset({"merger_input"})

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
        self.fixed_kwargs: Mapping[str, int] = {}
        self.fixed_pixels = int(vision.image_size) ** 2
        self._picture = (int(getattr(vision, "num_channels", 3)), int(vision.image_size), int(vision.image_size))

    def most_positions(self, longest: int) -> int:
        # What ratio 1 would take: beyond it the model knows no position.
        return longest

    def turns(self, tokenizer: Any) -> TurnFinder:
        if speaks_chatml(tokenizer):
            return chatml_turns(tokenizer, [self.image_token])

        def pieces(prompt: Sequence[int]) -> list[str]:
            # An id of the model that the tokenizer does not know has no piece.
            return [(piece or "").translate(_BLANKS) for piece in tokenizer.convert_ids_to_tokens(list(prompt))]

        return SpokenTurns(self.openings, pieces, frozenset((*tokenizer.all_special_ids, self.image_token)))

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        if self.reduces:
            return self._side, self._side
        return 1, int(info.get_num_image_tokens(image_width=width, image_height=height))

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        return ()

    def embedded_grid(self, item: Any) -> Grid:
        return self._square(item.shape[-2])

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        pictures = inputs.get("pixel_values", ())
        if any(tuple(picture.shape) != self._picture for picture in pictures):
            return f"pictures must be brought to {self._picture[1]} x {self._picture[2]} pixels"
        return None

    def extent(self, grid: Grid) -> int:
        return math.prod(grid)

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        if "pixel_values" in inputs:
            return [(self._side, self._side)] * len(inputs["pixel_values"])
        return [self._square(rows.shape[0]) for rows in inputs["image_embeds"]]

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        return [None] * len(self.grids(inputs))

    def tokens_of(self, item: Mapping[str, Any], modality: str) -> int | None:
        order = wire.decode_item(item)
        return None if order is None else order.encoded

    def flat_inputs(self, grids: Sequence[Grid]) -> Mapping[str, list[int]]:
        return {}

    def tap_points(self, model: Any) -> TapPoints:
        return TapPoints(None, model.multi_modal_projector.linear_1, 1, 1, None)

    def text_layers(self, model: Any) -> TextLayers | None:
        return text_layers(model.get_language_model())

    def packing_width(self, grid: Grid) -> int:
        return 1

    def spans(self, model: Any, features: Sequence[Any]) -> list[MediaSpan]:
        ordered = sorted(features, key=lambda feature: feature.mm_position.offset)
        return [self._span(feature) for feature in ordered]

    def _span(self, feature: Any) -> MediaSpan:
        place = feature.mm_position
        return MediaSpan(place.offset, place.length, (self.tokens_of(feature.data, "image") or place.length, 1, 1))

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
