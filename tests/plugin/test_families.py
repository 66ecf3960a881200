"""What each family says of a checkpoint, from its configuration alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, LlavaConfig, PixtralVisionConfig, Qwen2VLConfig, SiglipVisionConfig
from vllm.transformers_utils.config import uses_mrope

from sppruner_vllm.families.llava import Llava, LlavaForConditionalGeneration
from sppruner_vllm.families.qwen2_vl import Qwen2VL
from sppruner_vllm.wire import Order, StageOrder, encode


def llava(vision: Any, strategy: str = "default") -> LlavaConfig:
    return LlavaConfig(vision_config=vision, vision_feature_select_strategy=strategy, image_token_index=32000)


CLIP = CLIPVisionConfig(image_size=336, patch_size=14)
SIGLIP = SiglipVisionConfig(image_size=384, patch_size=16)


@pytest.mark.parametrize(
    ("config", "reduces"),
    [
        (llava(CLIP), True),
        (llava(CLIP, "full"), False),
        (llava(SIGLIP, "full"), True),
        (llava(SIGLIP), False),
        (llava(PixtralVisionConfig()), False),
    ],
)
def test_a_llava_whose_tokens_are_a_square_is_reduced_and_no_other(config: LlavaConfig, reduces: bool) -> None:
    assert Llava(config).reduces is reduces
    LlavaForConditionalGeneration.prepare_config(config)
    assert uses_mrope(config) is reduces
    assert not uses_mrope(config.get_text_config()), "the language model stays stock's"


def test_every_picture_of_a_llava_is_the_same_square() -> None:
    family = Llava(llava(CLIP))
    assert family.token_grid(None, 10, 2000, {}) == (24, 24)
    assert family.grids({"pixel_values": torch.zeros(2, 3, 336, 336)}) == [(24, 24)] * 2
    assert family.grids({"image_embeds": [torch.zeros(576, 8), torch.zeros(7, 8)]}) == [(24, 24), (1, 7)]
    assert (family.cell, family.extent((24, 24)), family.packing_width((24, 24))) == (None, 576, 1)


def test_a_llava_picture_takes_as_many_positions_as_it_had_tokens() -> None:
    stage = (StageOrder("rows", "uniform", 64),)
    fields = encode([Order(576, 64, stage, torch.empty(0, dtype=torch.int64))])
    data = {name: SimpleNamespace(data=value[0]) for name, value in fields.items()}
    feature = SimpleNamespace(data=data, mm_position=SimpleNamespace(offset=5, length=64))
    (span,) = Llava(llava(CLIP)).spans(None, [feature])
    assert (span.offset, span.length, span.grid, span.reduced) == (5, 64, (576, 1, 1), True)


def test_a_qwen_sizes_its_pictures_by_cells() -> None:
    family = Qwen2VL(Qwen2VLConfig(image_token_id=9))
    assert (family.cell, family.still_row, family.image_token) == (28, 0, 9)
    assert family.grids({"image_grid_thw": torch.tensor([[1, 8, 12], [1, 2, 4]])}) == [(4, 6), (1, 2)]
    assert family.flat_inputs([(4, 6), (1, 2)]) == {"pixel_values": [96, 8], "image_embeds": [24, 2]}
    assert family.extent((4, 6)) == 6
    item = {"image_grid_thw": SimpleNamespace(data=torch.tensor([1, 8, 12]))}
    assert family.tokens_of(item, "image") == 24
    assert family.tokens_of({}, "image") is None
