"""InternVL in its own, original format: internvl.py's tiles and thumbnail, whose configuration says little of them.

A prompt has `<image>` where a picture stands, which is text and no token. Here a picture's place is the token of which
its rows are made, as in transformers' format; a prompt that says `<image>` is rewritten before anything is planned.
The class is named like its parent because vLLM compares class names; it adds no weights. Capability flags that vLLM
caches by file stand in this file. Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Final

from vllm.model_executor.models import internvl as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing import PromptUpdate
from vllm.multimodal.processing.inputs import ProcessorInputs
from vllm.transformers_utils.processors.internvl import find_closest_aspect_ratio, get_internvl_target_ratios

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import TapPoints
from sppruner_vllm.planning.query import TurnFinder

from .internvl import InternVL, Mosaic, TilingMixin
from .on_a_line import OnALineMixin, keep_three_rows
from .turns import turns_of

_SAID: Final = "<image>"
"""Text that stands for a picture in a prompt."""

_ROW: Final = "<IMG_CONTEXT>"
"""Token of a row of a picture."""

_OPENINGS: Final = ("<|system|>", "<|user|>", "<|assistant|>")
"""What opens a turn of the checkpoints that do not speak ChatML, which are Phi-3's."""


class InternVLChat(InternVL):
    """A `Family` for InternVL in its original format."""

    pixels: ClassVar[str] = "pixel_values_flat"
    frames: ClassVar[str] = "pixel_values_flat_video"

    def turns(self, tokenizer: Any) -> TurnFinder:
        return turns_of(tokenizer, _OPENINGS, [self.image_token])

    def tap_points(self, model: Any) -> TapPoints:
        return TapPoints(None, model.mlp1[0], 1, 1, None)


class InternVLChatInfo(upstream.InternVLProcessingInfo):
    """Upstream's, which says how a picture is tiled, and what id a row has."""

    def get_hf_config(self) -> Any:
        config = super().get_hf_config()
        if not hasattr(config, "image_token_id"):
            # The checkpoint does not say it. A worker has no tokenizer to ask, and no need to know.
            config.image_token_id = self.get_tokenizer().convert_tokens_to_ids(_ROW)
        return config

    def mosaic(self, width: int, height: int, kwargs: Mapping[str, object]) -> Mosaic:
        """That of a picture of so many pixels.

        Args:
            kwargs: processor kwargs of the request.
        """
        processor = self.get_image_processor(**kwargs)
        least, most = processor.resolve_min_max_num(use_thumbnail=False)
        return _mosaic(width, height, processor.image_size, least, most, bool(processor.use_thumbnail))


@lru_cache(maxsize=4096)
def _mosaic(width: int, height: int, tile: int, least: int, most: int, thumbnail: bool) -> Mosaic:
    across, down = find_closest_aspect_ratio(
        width / height, _shapes(least, most), width=width, height=height, image_size=tile
    )
    return Mosaic(down, across, thumbnail=thumbnail and down * across > 1)


@lru_cache(maxsize=64)
def _shapes(least: int, most: int) -> list[tuple[int, int]]:
    """Of mosaics, (across, down)."""
    return list(get_internvl_target_ratios(least, most))


class InternVLChatReductionProcessor(ReductionProcessorMixin, TilingMixin, upstream.InternVLMultiModalProcessor):
    """The original format's processor with a plan per image."""

    family_of = InternVLChat

    def apply(self, inputs: ProcessorInputs, timing_ctx: Any) -> Any:
        return super().apply(self._with_tokens(inputs), timing_ctx)

    def _with_tokens(self, inputs: ProcessorInputs) -> ProcessorInputs:
        """The request with a token at the place of each picture.

        As upstream does it with text: another cut of the letters around it may not have the tokens of `<image>`.
        """
        pictures = len(inputs.mm_data_items.get("image", ()))
        if inputs.prompt.count(self.family.image_token) >= pictures:
            return inputs
        tokenizer = self.info.get_tokenizer()
        said = tokenizer.decode(inputs.prompt)
        if _SAID not in said:
            return inputs
        return replace(inputs, prompt=tokenizer.encode(said.replace(_SAID, _ROW), add_special_tokens=False))

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        updates = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        place = [self.family.image_token]
        return [replace(update, target=place) if update.modality == "image" else update for update in updates]


@MULTIMODAL_REGISTRY.register_processor(
    InternVLChatReductionProcessor,
    info=judging(InternVLChatInfo),
    dummy_inputs=upstream.InternVLDummyInputsBuilder,
)
class InternVLChatModel(OnALineMixin, upstream.InternVLChatModel):
    """InternVL in its original format, whose encoder output is reduced as each request asks."""

    family_of = InternVLChat
    supports_multimodal_pruning = True
    supports_mrope = True
    supports_encoder_tp_data = True

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        return _ROW if modality.startswith("image") else super().get_placeholder_str(modality, i)

    @staticmethod
    def prepare_config(config: Any) -> None:
        keep_three_rows(config, InternVLChat(config))

    def get_encoder_cudagraph_config(self) -> Any:
        """No modality: a captured graph would return the encoder's rows unreduced."""
        return replace(super().get_encoder_cudagraph_config(), modalities=[])
