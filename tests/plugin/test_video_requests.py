"""What the processor makes of requests with videos, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scheduling import configured
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing.context import TimingContext
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.planning.accounting import VisualTokens, visual_tokens_of
from sppruner_vllm.settings import settings

SHAPE = (112, 140)
EACH = 20


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets what the operator wants, by name in capitals."""

    def chosen(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"SPPRUNER_{name}", value)
        settings.cache_clear()

    yield chosen
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def processor(tiny_model: Path, operator: Callable[..., None]) -> Any:
    operator()
    config = configured(tiny_model, max_model_len=2000, limit_mm_per_prompt={"image": 2, "video": 2})
    made = MULTIMODAL_REGISTRY.create_processor(config.model_config)
    # A worker that served this checkpoint before may have said what a reduction costs.
    made.__dict__["_parts"] = None
    return made


def video(frames: int, seed: int = 0) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 256, (2 * frames, *SHAPE, 3), dtype=np.uint8)
    known = {"fps": 2.0, "total_num_frames": 2 * frames, "frames_indices": list(range(2 * frames))}
    return pixels, {**known, "do_sample_frames": False}


def process(
    processor: Any, prompt: list[int], videos: list[Any], pictures: list[Any] | None = None, **fields: Any
) -> Any:
    media = {"video": videos} | ({"image": pictures} if pictures else {})
    inputs = ProcessorInputs(prompt, processor.info.parse_mm_data(media), hf_processor_mm_kwargs=fields)
    return processor.apply(inputs, TimingContext())


def told(output: Any) -> VisualTokens:
    tokens = visual_tokens_of(output)
    assert tokens is not None
    return tokens


def place(processor: Any) -> list[int]:
    config = processor.info.get_hf_config()
    return [config.vision_start_token_id, config.video_token_id, config.vision_end_token_id]


def test_the_operators_default_is_for_videos_too(processor: Any, operator: Callable[..., None]) -> None:
    operator(KEEP_RATIO="0.25", THROUGHPUT_GUARD="0")
    output = process(processor, [*place(processor), 7], [video(4)])
    account = told(output)
    assert (account.original, account.retained, account.keep_ratio, account.skipped_reason) == (80, 20, 0.25, None)
    assert len(output["prompt_token_ids"]) == 20 + 3


def test_a_key_may_hold_videos_to_its_bounds(processor: Any) -> None:
    from sppruner_vllm.request.handed_over import RATIO_BOUNDS, RatioBounds

    output = process(processor, [*place(processor), 7], [video(4)], **{RATIO_BOUNDS: RatioBounds(0.1, 0.5)})
    assert told(output).retained == 40


@pytest.mark.parametrize("places", ["last", "side by side"])
def test_where_positions_could_not_be_told_a_video_stays_whole_and_says_so(processor: Any, places: str) -> None:
    token = processor.info.get_hf_config().video_token_id
    prompt = [7, token] if places == "last" else [7, token, token, 7]
    output = process(processor, prompt, [video(4, seed) for seed in range(prompt.count(token))], keep_ratio=0.25)
    account = told(output)
    assert account.original == account.retained == 80 * prompt.count(token)
    assert account.skipped_reason == "unsupported_input"
    assert {one.keep_ratio for one in account.videos} == {1.0}


@pytest.mark.parametrize("budget", [{"keep_ratio": 0.25}, {"keep_tokens_total": 24}], ids=str)
def test_beside_a_picture_of_one_token_a_video_stays_whole_and_says_so(
    processor: Any, budget: dict[str, float]
) -> None:
    """A worker tells such a picture from text by nothing: rows of the video would fit no place."""
    config = processor.info.get_hf_config()
    prompt = [*place(processor), config.image_token_id, *place(processor), 7]
    dot = Image.new("RGB", (28, 28))
    output = process(processor, prompt, [video(4), video(2)], [dot], min_pixels=28 * 28, **budget)
    account = told(output)
    assert [one.original for one in account.images] == [1]
    assert account.retained == account.original == 80 + 1 + 40
    assert {one.skipped_reason for one in account.videos} == {"unsupported_input"}


def test_a_video_that_stays_whole_is_known_to_caches_by_vllms_own_name(processor: Any) -> None:
    prompt = [*place(processor), 7]
    (plain,), (whole,), (reduced,), (other,) = (
        process(processor, prompt, [video(4)], **fields)["mm_hashes"]["video"]
        for fields in ({}, {"keep_ratio": 1}, {"keep_ratio": 0.5}, {"keep_ratio": 0.25})
    )
    assert plain == whole
    assert len({plain, reduced, other}) == 3


def test_a_default_and_the_same_ratio_in_the_request_may_differ_where_it_would_not_pay(
    processor: Any, operator: Callable[..., None]
) -> None:
    from sppruner_vllm.planning.paying import Parts

    operator(KEEP_RATIO="0.25")
    processor.__dict__["_parts"] = Parts("focus_context", prefill=1e-9, image=1.0, row=0.0, pair=0.0)
    prompt = [*place(processor), 7]
    default, asked = (process(processor, prompt, [video(4)], **fields) for fields in ({}, {"keep_ratio": 0.25}))
    assert told(default).skipped_reason == "would_not_pay"
    assert len(default["prompt_token_ids"]) == 80 + 3
    assert told(asked).retained == 20
    assert default["mm_hashes"] != asked["mm_hashes"]


def test_an_account_is_the_same_where_vllm_finds_the_video_in_its_cache(processor: Any) -> None:
    from vllm.multimodal.cache import MultiModalProcessorOnlyCache

    cache = MultiModalProcessorOnlyCache(processor.info.ctx.model_config)
    items = processor.info.parse_mm_data({"video": [video(4)]})
    inputs = ProcessorInputs([*place(processor), 7], items, hf_processor_mm_kwargs={"keep_ratio": 0.25}, cache=cache)
    first, again = (processor.apply(inputs, TimingContext()) for _ in range(2))
    assert told(first) == told(again)
    assert told(again).videos[0].frames == 4
    processor._sized.clear()
    forgotten = told(processor.apply(inputs, TimingContext()))
    assert (forgotten.retained, forgotten.videos[0].frames) == (20, 0)


def test_a_video_may_not_be_larger_before_reduction_than_vllm_lets_an_item_be(processor: Any) -> None:
    from vllm.exceptions import VLLMValidationError

    processor.know_encoder_room(80)
    prompt = [*place(processor), 7]
    assert told(process(processor, prompt, [video(4)], keep_ratio=0.1)).retained == 8
    with pytest.raises(VLLMValidationError, match="video 0 has 100 visual tokens before reduction; there may be 80"):
        process(processor, prompt, [video(5)], keep_ratio=0.1)


def still(frames: int) -> Any:
    pixels, known = video(1)
    return np.repeat(pixels[:1], 2 * frames, axis=0), {
        **known,
        "total_num_frames": 2 * frames,
        "frames_indices": list(range(2 * frames)),
    }


def test_pictures_and_videos_share_a_budget_by_size_and_by_what_is_new(processor: Any, monkeypatch: Any) -> None:
    config = processor.info.get_hf_config()
    shown = [config.vision_start_token_id, config.image_token_id, config.vision_end_token_id]
    prompt = [*place(processor), *shown, *place(processor), 7]
    calls: list[int] = []
    upstream = processor._call_hf_processor

    def counting(data: Any, kwargs: Any) -> Any:
        calls.append(len(data.get("videos", ())))
        return upstream(data, kwargs)

    monkeypatch.setattr(processor, "_call_hf_processor", counting)
    media: tuple[Any, Any] = [video(4), still(4)], [Image.fromarray(video(1)[0][0])]
    account = told(process(processor, prompt, *media, keep_tokens_total=60))
    assert account.retained == 60
    (picture,), (moving, calm) = account.images, account.videos
    assert moving.retained > picture.retained > 2
    assert calm.retained < moving.retained / 2
    assert (account.original, moving.keep_ratio) == (20 + 80 + 80, round(moving.retained / 80, 6))
    assert sum(calls) == 2, "sized ahead, and not made pixels of again"
    assert told(process(processor, prompt, *media, keep_tokens_total=60)) == account
    assert told(process(processor, prompt, *media, keep_tokens_total=500)).retained == 180
    assert sum(calls) == 2


def test_a_video_whose_channels_come_first_has_its_part_of_a_budget(processor: Any) -> None:
    pixels, known = video(4)
    shown = [*place(processor), 7]
    last, first = (
        told(process(processor, shown, [(one, known)], keep_tokens_total=20))
        for one in (pixels, pixels.transpose(0, 3, 1, 2))
    )
    assert first == last
    assert first.retained == 20


@pytest.mark.parametrize(
    "size", [(112, 140, 8), (113, 141, 7), (30, 600, 3), (1000, 700, 2), (20, 20, 1), (448, 336, 14)]
)
def test_the_head_of_a_video_says_how_many_tokens_it_has(processor: Any, size: tuple[int, int, int]) -> None:
    height, width, pictures = size
    known = {
        "fps": 2.0,
        "total_num_frames": pictures,
        "frames_indices": list(range(pictures)),
        "do_sample_frames": False,
    }
    sent = np.zeros((pictures, height, width, 3), np.uint8), known
    said = processor.family.videos.tokens(processor.info, width, height, pictures)
    assert told(process(processor, [*place(processor), 7], [sent])).original == said
