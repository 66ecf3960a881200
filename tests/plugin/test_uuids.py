"""A uuid stands for the picture last sent under it, at any keep ratio: identities as the processor makes them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scheduling import configured
from vllm.exceptions import VLLMValidationError
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.cache import processor_only_cache_from_config
from vllm.multimodal.processing.context import TimingContext
from vllm.multimodal.processing.inputs import ProcessorInputs

RED, BLUE = Image.new("RGB", (336, 336), "red"), Image.new("RGB", (336, 336), "blue")
RATIOS = (1, 0.222)


class Processor:
    """Ours, with a cache of vLLM's, and what it calls each picture."""

    def __init__(self, model: Path) -> None:
        config = configured(model, max_model_len=4096, limit_mm_per_prompt={"image": 4})
        self.processor: Any = MULTIMODAL_REGISTRY.create_processor(config.model_config)
        self.cache = processor_only_cache_from_config(config)

    def names(self, *pictures: Image.Image | None, uuids: Sequence[str | None], **fields: Any) -> list[str]:
        vision = self.processor.info.get_hf_config()
        prompt = [vision.vision_start_token_id, vision.image_token_id, vision.vision_end_token_id] * len(pictures)
        items = self.processor.info.parse_mm_data({"image": list(pictures)})
        inputs = ProcessorInputs(
            [*prompt, 7], items, {"image": list(uuids)}, hf_processor_mm_kwargs=fields, cache=self.cache
        )
        return self.processor.apply(inputs, TimingContext())["mm_hashes"]["image"]


@pytest.fixture
def processor(tiny_model: Path) -> Processor:
    return Processor(tiny_model)


@pytest.mark.parametrize("ratio", RATIOS)
def test_another_picture_under_a_uuid_is_another_picture(processor: Processor, ratio: float) -> None:
    red = processor.names(RED, uuids=["a"], keep_ratio=ratio)
    blue = processor.names(BLUE, uuids=["a"], keep_ratio=ratio)
    assert red != blue
    assert processor.names(RED, uuids=["a"], keep_ratio=ratio) == red


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_uuid_alone_means_the_picture_that_was_last_sent_under_it(processor: Processor, ratio: float) -> None:
    processor.names(RED, uuids=["a"], keep_ratio=ratio)
    blue = processor.names(BLUE, uuids=["a"], keep_ratio=ratio)
    assert processor.names(None, uuids=["a"], keep_ratio=ratio) == blue


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_picture_under_two_uuids_counts_as_two(processor: Processor, ratio: float) -> None:
    """So a fresh uuid is a way past all caches, as in vLLM."""
    one = processor.names(RED, uuids=["a"], keep_ratio=ratio)
    other = processor.names(RED, uuids=["b"], keep_ratio=ratio)
    bare = processor.names(RED, uuids=[None], keep_ratio=ratio)
    assert len({*one, *other, *bare}) == 3
    assert processor.names(None, uuids=["a"], keep_ratio=ratio) == one


@pytest.mark.parametrize("ratio", RATIOS)
def test_two_pictures_of_a_request_may_have_one_uuid(processor: Processor, ratio: float) -> None:
    red, bare, blue = processor.names(RED, RED, BLUE, uuids=["a", None, "a"], keep_ratio=ratio)
    assert len({red, bare, blue}) == 3
    assert processor.names(None, uuids=["a"], keep_ratio=ratio) == [blue]


@pytest.mark.parametrize("ratio", RATIOS)
def test_nobody_finds_a_picture_by_what_it_is_called_inside(processor: Processor, ratio: float) -> None:
    known = processor.names(RED, uuids=[None], keep_ratio=ratio) + processor.names(BLUE, uuids=["a"], keep_ratio=ratio)
    for name in (*known, "b"):
        with pytest.raises(VLLMValidationError, match="uuid only") as refusal:
            processor.names(None, uuids=[name], keep_ratio=ratio)
        assert refusal.value.parameter == "uuid"


def test_how_a_picture_is_processed_is_part_of_what_a_uuid_stands_for(processor: Processor) -> None:
    usual = processor.names(RED, uuids=["a"])
    small = processor.names(BLUE, uuids=["a"], max_pixels=112 * 112)
    assert usual != small
    assert processor.names(None, uuids=["a"]) == usual


def test_the_names_that_vllm_makes_up_for_want_of_caches_are_kept(processor: Processor) -> None:
    made_up = "renderer0-mm-3-image-0"
    assert processor.names(RED, uuids=[made_up]) == [made_up]


def test_long_uuids_are_not_held(processor: Processor) -> None:
    """A body may be a uuid of 32 MiB, and thousands are remembered."""
    processor.names(RED, uuids=["first"])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        names = [processor.names(RED, uuids=[str(number) * 2**20])[0] for number in range(10)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(set(names)) == 10
    assert held - before < 2**20
    assert processor.names(None, uuids=["7" * 2**20]) == [names[7]]


def test_a_uuid_that_is_no_text_is_refused(processor: Processor) -> None:
    with pytest.raises(VLLMValidationError, match="a uuid must be a string"):
        processor.names(RED, uuids=[5], keep_ratio=0.222)  # type: ignore[list-item]
