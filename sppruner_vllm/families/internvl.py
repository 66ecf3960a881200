"""InternVL in transformers' format, with visual-token reduction: a mosaic of tiles and a thumbnail.

The tiles of a mosaic are selected from as one picture, since neighbours across their borders are neighbours. Videos are
served whole. The original format is internvl_chat.py. Version of the package when the flags last changed: 0.2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

import torch
from torch import Tensor
from transformers import BatchFeature
from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas
from vllm.model_executor.models import interns1 as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import BaseMultiModalProcessor

from sppruner_vllm.api.given_pictures import judging
from sppruner_vllm.api.processor import ReductionProcessorMixin
from sppruner_vllm.family import Layout, TapPoints
from sppruner_vllm.planning.query import TurnFinder
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction.pieces import Piece

from .chatml import chatml_turns
from .on_a_line import OnALineFamily, OnALineMixin, keep_three_rows, lengthens

_TILES: Final = "sppruner_tiles"
"""Field of an image: tiles of its mosaic, (down, across), which the number of its tiles does not tell."""

UNKNOWN: Final = -1
"""Token of a picture where a configuration does not say it."""

_CROPS: Final = True
"""Whether pictures are tiled where nobody says: transformers' processor does, whatever its image processor says."""


class Mosaic(NamedTuple):
    """The tiles that a picture is cut into, and whether a view of the whole of it follows them."""

    down: int
    across: int
    thumbnail: bool

    @property
    def tiles(self) -> int:
        """All that the encoder gets, the thumbnail among them."""
        return self.down * self.across + self.thumbnail


class InternVL(OnALineFamily):
    """A `Family` for InternVL, whose language model speaks ChatML.

    The grid of an image is the line of its rows: those of each tile line by line, then the thumbnail's where there is
    one.
    """

    pixels: ClassVar[str] = "pixel_values"
    """Encoder input that has the tiles of all pictures."""

    frames: ClassVar[str] = "pixel_values_videos"
    """Encoder input that has the frames of all videos."""

    def __init__(self, config: Any) -> None:
        """Args:
        config: the checkpoint's transformers configuration.
        """
        vision, text = config.vision_config, config.get_text_config()
        self.reduces = lengthens(text)
        self.image_token = int(getattr(config, "image_token_id", UNKNOWN))
        # Of a video it says no id; none is needed, for no frame is a single token.
        self.media_tokens = {"image": self.image_token}
        self.row_width = self.word_width = int(text.hidden_size)
        self.lead = () if text.bos_token_id is None else (int(text.bos_token_id),)
        height, width = _sides(vision.image_size)
        self._side = int(height // _sides(vision.patch_size)[0] * config.downsample_ratio)
        self._tile = int(getattr(vision, "num_channels", 3)), height, width

    def turns(self, tokenizer: Any) -> TurnFinder:
        return chatml_turns(tokenizer, [self.image_token])

    def token_grid(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> Grid:
        return 1, sum(piece.tokens for piece in self.pieces(info, width, height, kwargs))

    def pieces(self, info: Any, width: int, height: int, kwargs: Mapping[str, object]) -> tuple[Piece, ...]:
        return self._pieces(info.mosaic(width, height, kwargs))

    def fixed_pixels(self, info: Any) -> int | None:
        tiles = int(info.get_max_image_tokens()) // self._side**2
        return tiles * self._tile[1] * self._tile[2]

    def embedded_grid(self, item: Any) -> Grid:
        return 1, int(item.shape[-2])

    def misfit(self, inputs: Mapping[str, Any]) -> str | None:
        for name in (self.pixels, self.frames):
            if name in inputs and tuple(inputs[name].shape[1:]) != self._tile:
                return f"tiles and frames must be brought to {self._tile[1]} x {self._tile[2]} pixels"
        return None

    def grids(self, inputs: Mapping[str, Any]) -> list[Grid]:
        if self.pixels in inputs:
            return [(1, layout.rows) for layout in self._layouts(inputs)]
        return [(1, len(rows)) for rows in inputs["image_embeds"]]

    def layouts(self, inputs: Mapping[str, Any]) -> Sequence[Layout | None]:
        return self._layouts(inputs) if self.pixels in inputs else [None] * len(inputs["image_embeds"])

    def rows_of_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Sequence[int] | None]:
        tiles = inputs.get("image_num_patches")
        return {"image_token_id": None} if tiles is None else {"image_token_id": None, self.pixels: tiles.tolist()}

    def tap_points(self, model: Any) -> TapPoints:
        return TapPoints(None, model.multi_modal_projector.layer_norm, 1, 1, None)

    def _layouts(self, inputs: Mapping[str, Any]) -> list[Layout]:
        counted = zip(inputs[_TILES].tolist(), inputs["image_num_patches"].tolist(), strict=True)
        pieces = [self._pieces(Mosaic(down, across, tiles > down * across)) for (down, across), tiles in counted]
        return [Layout(own, sum(piece.tokens for piece in own), _as_it_is) for own in pieces]

    def _pieces(self, mosaic: Mosaic) -> tuple[Piece, ...]:
        side = self._side
        tiles = Piece(0, (mosaic.down * side, mosaic.across * side), tile=(side, side))
        return (tiles, Piece(tiles.tokens, (side, side))) if mosaic.thumbnail else (tiles,)


def _sides(size: Any) -> tuple[int, int]:
    """Height and width, of a configuration that may say one number for both."""
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def _as_it_is(values: Tensor) -> Tensor:
    return values.clone()


class InternVLInfo(upstream.InternS1ProcessingInfo):
    """Upstream's, which counts one tile where a checkpoint's image processor alone does not tile."""

    def mosaic(self, width: int, height: int, kwargs: Mapping[str, object]) -> Mosaic:
        """That of a picture of so many pixels.

        Args:
            kwargs: processor kwargs of the request.
        """
        image_processor = self.get_hf_processor(**kwargs).image_processor
        merged = self.ctx.get_merged_mm_kwargs(kwargs)
        options = {**merged.get("images_kwargs", {}), **merged}
        least, most = (
            int(options.get(name, getattr(image_processor, name))) for name in ("min_patches", "max_patches")
        )
        if not options.get("crop_to_patches", _CROPS):
            return Mosaic(1, 1, thumbnail=False)
        size = image_processor.size
        return _mosaic(height, width, size.height, size.width, least, most)

    def get_num_image_tokens(
        self, *, image_width: int, image_height: int, processor: Any, mm_kwargs: Mapping[str, object]
    ) -> int:
        return int(processor.image_seq_length) * self.mosaic(image_width, image_height, mm_kwargs).tiles


@lru_cache(maxsize=4096)
def _mosaic(height: int, width: int, tile_height: int, tile_width: int, least: int, most: int) -> Mosaic:
    across, down = get_optimal_tiled_canvas((height, width), (tile_height, tile_width), least, most)
    return Mosaic(down, across, thumbnail=down * across > 1)


class TilingMixin(BaseMultiModalProcessor[Any]):
    """Says of each image how its tiles lie; put before upstream's processor in the base-class list."""

    def _apply_hf_processor_main(self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]) -> BatchFeature:
        output = super()._apply_hf_processor_main(mm_items, hf_kwargs)
        images = mm_items.get("image")
        if isinstance(images, ImageProcessorItems):
            sizes = [images.get_image_size(place) for place in range(len(images))]
            mosaics = [self.info.mosaic(size.width, size.height, hf_kwargs) for size in sizes]
            output[_TILES] = torch.tensor([(mosaic.down, mosaic.across) for mosaic in mosaics])
        return output

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            **super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs),
            _TILES: MultiModalFieldConfig.batched("image", keep_on_cpu=True),
        }


class InternVLReductionProcessor(ReductionProcessorMixin, TilingMixin, upstream.InternS1MultiModalProcessor):
    """InternVL's processor with a plan per image."""

    family_of = InternVL


@MULTIMODAL_REGISTRY.register_processor(
    InternVLReductionProcessor,
    info=judging(InternVLInfo),
    dummy_inputs=upstream.InternS1DummyInputsBuilder,
)
class InternVLForConditionalGeneration(OnALineMixin, upstream.InternS1ForConditionalGeneration):
    """InternVL whose encoder output is reduced as each request asks."""

    family_of = InternVL
    supports_multimodal_pruning = True
    supports_mrope = True

    @staticmethod
    def prepare_config(config: Any) -> None:
        keep_three_rows(config, InternVL(config))
