"""Pixels of a picture are processed once: what is asked later is sent the same ones, whatever stands beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vllm.multimodal.processing import ProcessorInputs, TimingContext

from cases import LANDSCAPE, PORTRAIT, SQUARE, picture
from engines import ask_about_video, with_video
from sppruner_vllm.api.pixels_cache import PixelsCache
from sppruner_vllm.wire import decode_item

_seeds = itertools.count(8000)
PAD = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture
def processor(llm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine's own, with nothing kept."""
    found = llm.llm_engine.input_processor.renderer.get_mm_processor()
    monkeypatch.setitem(found.__dict__, "_pixels", PixelsCache(128 * 2**20))
    return found


@contextmanager
def processed(processor: Any) -> Iterator[list[int]]:
    """Pictures in each call of transformers' processor inside the block."""
    calls: list[int] = []
    upstream = processor._call_hf_processor

    def counting(data: Any, kwargs: Any) -> Any:
        calls.append(len(data.get("images", ())))
        return upstream(data, kwargs)

    processor._call_hf_processor = counting
    try:
        yield calls
    finally:
        del processor._call_hf_processor


def apply(
    processor: Any, images: list[Any], question: str = "what", uuids: list[str | None] | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """The images as the engine is sent them, without a cache of vLLM's."""
    text = f"<|im_start|>user\n{PAD * len(images)}{question}<|im_end|>\n<|im_start|>assistant\n"
    inputs = ProcessorInputs(
        processor.info.get_tokenizer().encode(text),
        processor.info.parse_mm_data({"image": images}),
        None if uuids is None else {"image": uuids},
        hf_processor_mm_kwargs=fields,
    )
    output = processor.apply(inputs, TimingContext(enabled=False))
    return [item.get_data() for item in output["mm_kwargs"]["image"]]


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    return [picture(size, next(_seeds)) for size in sizes]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return torch.equal(one["pixel_values"], other["pixel_values"]) and torch.equal(
        one["image_grid_thw"], other["image_grid_thw"]
    )


@pytest.mark.parametrize("later", [{"keep_ratio": 0.25}, {"keep_ratio": 1.0}, {"reduction_method": "uniform"}])
def test_whatever_is_asked_later_sends_the_same_pixels_and_its_own_order(processor: Any, later: dict[str, Any]) -> None:
    (image,) = pictures(SQUARE)
    (first,) = apply(processor, [image], keep_ratio=0.5)
    with processed(processor) as calls:
        (again,) = apply(processor, [image], "where", **{"keep_ratio": 0.5} | later)
    assert calls == []
    assert again["pixel_values"].data_ptr() == first["pixel_values"].data_ptr(), "no copy"
    assert same(again, first)
    assert again["sppruner_order"].tolist() != first["sppruner_order"].tolist()
    with processed(processor) as calls:
        processor._pixels = PixelsCache(0)
        (alone,) = apply(processor, [image], "where", **{"keep_ratio": 0.5} | later)
    assert calls == [1]
    assert same(again, alone)
    assert again["sppruner_order"].tolist() == alone["sppruner_order"].tolist()


@pytest.mark.parametrize("places", itertools.permutations(range(4)), ids=lambda places: "".join(map(str, places)))
def test_known_and_unknown_pictures_of_one_request_come_in_its_order(processor: Any, places: tuple[int, ...]) -> None:
    images = pictures(SQUARE, PORTRAIT, LANDSCAPE, PORTRAIT)
    apart = [apply(processor, [image], keep_ratio=0.5)[0] for image in images]
    processor._pixels = PixelsCache(128 * 2**20)
    apply(processor, [images[0], images[2]], keep_ratio=0.5)
    with processed(processor) as calls:
        together = apply(processor, [images[place] for place in places], keep_ratio=0.25)
    assert calls == [2]
    assert all(same(found, apart[place]) for found, place in zip(together, places, strict=True))


def test_of_several_pictures_each_is_kept_by_itself(processor: Any) -> None:
    images = pictures(SQUARE, PORTRAIT)
    sent = apply(processor, images, keep_ratio=0.5)
    assert processor._pixels.held == sum(item["pixel_values"].nbytes + item["image_grid_thw"].nbytes for item in sent)
    (found,) = processor._pixels.find([decode_item_picture(sent[0])]).values()
    assert found["pixel_values"].data.untyped_storage().nbytes() == found["pixel_values"].data.nbytes


def decode_item_picture(item: dict[str, Any]) -> str:
    from types import SimpleNamespace

    order = decode_item({name: SimpleNamespace(data=value) for name, value in item.items()})
    assert order is not None
    return order.picture


@pytest.mark.parametrize("method", ["downscale", "hybrid"])
def test_a_smaller_form_is_kept_beside_the_picture(processor: Any, method: str) -> None:
    (image,) = pictures(SQUARE)
    (whole,) = apply(processor, [image])
    with processed(processor) as calls:
        (smaller,) = apply(processor, [image], keep_ratio=0.5, reduction_method=method)
        (again,) = apply(processor, [image], "where", keep_ratio=0.5, reduction_method=method)
        (whole_again,) = apply(processor, [image], "where")
    assert calls == [1]
    assert same(smaller, again)
    assert same(whole, whole_again)
    assert not same(whole, smaller)


def test_another_picture_under_the_same_uuid_is_not_mixed_up_with_the_first(processor: Any) -> None:
    square, portrait = pictures(SQUARE, PORTRAIT)
    apply(processor, [square], uuids=["one"], keep_ratio=0.5)
    with processed(processor) as calls:
        (found,) = apply(processor, [portrait], uuids=["one"], keep_ratio=0.5)
        (again,) = apply(processor, [square], "who", uuids=["one"], keep_ratio=0.5)
    assert calls == [1], "a uuid is taken for the picture's own name, as vLLM does, as long as the size fits"
    assert found["image_grid_thw"].tolist() == [1, PORTRAIT[1] // 14, PORTRAIT[0] // 14]
    assert again["image_grid_thw"].tolist() == [1, SQUARE[1] // 14, SQUARE[0] // 14]


@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_two_pictures_of_one_request_may_have_one_uuid(processor: Any, ratio: float) -> None:
    images = pictures(SQUARE, PORTRAIT)
    first = apply(processor, images, uuids=["two", "two"], keep_ratio=ratio)
    with processed(processor) as calls:
        again = apply(processor, images, "who", uuids=["two", "two"], keep_ratio=ratio)
    assert calls == []
    assert all(map(same, first, again))


def test_a_uuid_may_stand_for_another_picture_once_vllm_forgot_the_first(llm: Any, processor: Any) -> None:
    first, second = pictures(SQUARE, SQUARE)
    apply(processor, [first], uuids=["one"], keep_ratio=0.5)
    llm.llm_engine.reset_mm_cache()
    assert processor._pixels.held == 0
    (found,) = apply(processor, [second], uuids=["one"], keep_ratio=0.5)
    (named,) = apply(processor, [second], keep_ratio=0.5)
    assert same(found, named)


def test_processor_kwargs_of_a_request_make_another_picture(processor: Any) -> None:
    (image,) = pictures(SQUARE)
    apply(processor, [image], keep_ratio=0.5)
    with processed(processor) as calls:
        (smaller,) = apply(processor, [image], keep_ratio=0.5, max_pixels=100 * 28 * 28)
        (again,) = apply(processor, [image], "who", keep_ratio=0.5, max_pixels=100 * 28 * 28)
    assert calls == [1]
    assert same(smaller, again)


def test_arrays_are_kept_like_pictures(processor: Any) -> None:
    image = np.array(pictures(SQUARE)[0])
    with processed(processor) as calls:
        (first,) = apply(processor, [image], keep_ratio=0.5)
        (again,) = apply(processor, [image], "who", keep_ratio=0.5)
    assert calls == [1]
    assert same(first, again)


def test_images_that_came_encoded_are_passed_on_and_not_kept(processor: Any) -> None:
    given = {"image_embeds": torch.randn(144, 256), "image_grid_thw": torch.tensor([[1, 24, 24]])}
    text = f"<|im_start|>user\n{PAD}what<|im_end|>\n<|im_start|>assistant\n"
    inputs = ProcessorInputs(
        processor.info.get_tokenizer().encode(text),
        processor.info.parse_mm_data({"image": given}),
        hf_processor_mm_kwargs={"keep_ratio": 0.5},
    )
    (item,) = processor.apply(inputs, TimingContext(enabled=False))["mm_kwargs"]["image"]
    assert torch.equal(item["image_embeds"].data, given["image_embeds"])
    assert decode_item_picture(item.get_data()) == ""
    assert processor._pixels.held == 0


def test_of_pictures_and_a_video_only_what_is_new_is_processed(llm: Any, processor: Any) -> None:
    engine = llm.llm_engine

    def forget() -> None:
        """What vLLM knows of the pictures, and no more."""
        engine.renderer.mm_processor_cache.clear_cache()
        engine.engine_core.reset_mm_cache()
        llm.reset_prefix_cache()

    first = ask_about_video(llm, 0.5)
    forget()
    with processed(processor) as calls:
        again = ask_about_video(llm, 0.25)
    assert calls == []
    forget()
    with processed(processor) as calls:
        llm.generate(with_video((140, 112), 0.25, 910), use_tqdm=False)
    assert calls == [0], "another video beside known pictures"
    with processed(processor) as calls:
        llm.generate(with_video((112, 140), 0.25, 930), use_tqdm=False)
    assert calls == [2], "other pictures beside a known video"
    forget()
    processor._pixels = PixelsCache(0)
    alone = ask_about_video(llm, 0.25)
    assert (again.tokens, again.prompt_ids) == (alone.tokens, alone.prompt_ids)
    assert again.prompt < first.prompt


def test_pictures_stay_within_the_bound(processor: Any) -> None:
    (first,) = apply(processor, pictures((112, 112)), keep_ratio=0.5)
    processor._pixels = PixelsCache(3 * first["pixel_values"].nbytes)
    for image in pictures(*[(112, 112)] * 5, SQUARE):
        apply(processor, [image], keep_ratio=0.5)
        assert processor._pixels.held <= 3 * first["pixel_values"].nbytes
    assert processor._pixels.held > first["pixel_values"].nbytes


def test_what_profiling_sends_is_not_kept(processor: Any) -> None:
    inputs = processor.get_dummy_inputs(4096, {"image": 1}, {})
    processor.apply(inputs, TimingContext(enabled=False))
    assert processor._pixels.held == 0
