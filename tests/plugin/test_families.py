"""What each family says of a checkpoint, from its configuration alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaNextConfig,
    PixtralVisionConfig,
    Qwen2VLConfig,
    SiglipVisionConfig,
)
from vllm.multimodal.inputs import PlaceholderRange
from vllm.transformers_utils.config import uses_mrope

from sppruner_vllm.families.llava import Llava, LlavaForConditionalGeneration
from sppruner_vllm.families.llava_next import LlavaNext
from sppruner_vllm.families.qwen2_vl import Qwen2VL
from sppruner_vllm.planning.query import TurnMarkers, turn_queries
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


@pytest.mark.parametrize(
    ("rope", "reduces"),
    [
        ({"rope_type": "dynamic"}, True),
        ({"rope_type": "dynamic", "max_trained_positions": 2048}, False),
        ({"rope_type": "yarn", "original_max_position_embeddings": 2048}, False),
    ],
)
def test_a_llava_is_reduced_where_its_rotary_table_can_be_made_longer(rope: dict[str, Any], reduces: bool) -> None:
    """What a dynamic one holds depends on its length where vLLM is told of the positions it was trained on."""
    config = llava(CLIP)
    config.get_text_config().rope_parameters = {"factor": 2.0, "rope_theta": 10000.0, **rope}
    assert Llava(config).reduces is reduces


class Speaking:
    """A tokenizer as far as a turn finder looks at it."""

    all_special_ids = (1, 2)

    def __init__(self, *marks: str) -> None:
        self._marks = marks

    def get_vocab(self) -> dict[str, int]:
        return {mark: 10 + index for index, mark in enumerate(self._marks)}

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [20]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [{1: "<s>", 5: "\u2581USER", 6: ":", 7: "\u2581what"}.get(token) for token in ids]


def test_a_llava_that_speaks_chatml_has_its_turns() -> None:
    family = Llava(llava(CLIP))
    assert isinstance(family.turns(Speaking("<|im_start|>", "<|im_end|>")), TurnMarkers)


def test_an_id_that_the_tokenizer_does_not_know_is_no_text() -> None:
    turns = Llava(llava(CLIP)).turns(Speaking())
    assert turn_queries([1, 5, 6, 32000, 7, 32010], [3], turns, 9) == [(7, 32010)]


def test_positions_end_where_the_table_of_the_model_does() -> None:
    assert Llava(llava(CLIP)).most_positions(4096) == 4096
    config = Qwen2VLConfig(image_token_id=9)
    text = config.get_text_config()
    text.max_position_embeddings = 1000
    assert Qwen2VL(config).most_positions(1000) == 3000
    text.rope_parameters = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 300}
    assert Qwen2VL(config).most_positions(600) == 1800


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
    feature = SimpleNamespace(data=data, modality="image", mm_position=PlaceholderRange(offset=5, length=64))
    (span,) = Llava(llava(CLIP)).spans(None, [feature])
    assert (span.offset, span.length, span.grid, span.reduced) == (5, 64, (576, 1, 1), True)


def test_a_qwen_sizes_its_pictures_by_cells() -> None:
    family = Qwen2VL(Qwen2VLConfig(image_token_id=9))
    assert (family.cell, family.still_row, family.image_token) == (28, 0, 9)
    assert family.grids({"image_grid_thw": torch.tensor([[1, 8, 12], [1, 2, 4]])}) == [(4, 6), (1, 2)]
    assert family.rows_of_inputs({"image_grid_thw": torch.tensor([[1, 8, 12], [1, 2, 4]])}) == {
        "pixel_values": [96, 8],
        "image_embeds": [24, 2],
    }
    assert family.extent((4, 6)) == 6
    item = {"image_grid_thw": SimpleNamespace(data=torch.tensor([1, 8, 12]))}
    assert family.tokens_of(item, "image") == 24
    assert family.tokens_of({}, "image") is None


class Pieces:
    """A tokenizer that cuts text at blanks and marks, as far as a turn finder looks at it."""

    all_special_ids = (0,)

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    def get_vocab(self) -> dict[str, int]:
        return {}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [self._pieces[token] for token in ids]


LLAMA_3 = (
    "<|eot_id|>",
    "<|start_header_id|>",
    "user",
    "assistant",
    "<|end_header_id|>",
    "\u010a\u010a",
    "<image>",
    "what",
)
MISTRAL = ("</s>", "\u2581[", "INST", "]", "[", "/", "<0x0A>", "<image>", "\u2581what", "\u2581red")


@pytest.mark.parametrize(
    ("pieces", "prompt", "query"),
    [
        (LLAMA_3, [1, 2, 4, 5, 6, 7, 0, 1, 3, 4, 5], (5, 7)),
        (MISTRAL, [1, 2, 3, 7, 6, 8, 4, 5, 2, 3, 9, 0, 1, 2, 3, 8, 4, 5, 2, 3], (6, 8)),
    ],
    ids=["Llama 3", "Mistral"],
)
def test_a_llava_next_has_the_turns_of_its_language_models(
    pieces: tuple[str, ...], prompt: list[int], query: tuple[int, ...]
) -> None:
    image = pieces.index("<image>")
    vision = CLIPVisionConfig(image_size=56, patch_size=14)
    family = LlavaNext(LlavaNextConfig(vision_config=vision, image_token_index=image))
    assert turn_queries(prompt, [prompt.index(image)], family.turns(Pieces(*pieces)), 9) == [query]
