"""The processor refuses what ratio 1 would be refused, before it looks at a pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scheduling import configured
from vllm.exceptions import VLLMValidationError
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing.context import TimingContext
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.accounting import visual_tokens_of
from sppruner_vllm.settings import settings

CONTEXT = 1000
SIDE = 560
"""Of a picture of 400 visual tokens."""


@pytest.fixture
def processor(tiny_model: Path) -> Iterator[Any]:
    settings.cache_clear()
    config = configured(tiny_model, max_model_len=CONTEXT, limit_mm_per_prompt={"image": 4, "video": 1})
    yield MULTIMODAL_REGISTRY.create_processor(config.model_config)
    settings.cache_clear()


def process(
    processor: Any, ratio: float, *sides: int, text: int = 0, frames: int = 0, method: str | None = None
) -> Any:
    family, media = processor.family, {}
    config = processor.info.get_hf_config()
    prompt = [7] * text
    for token, kind, there in ((family.image_token, "image", len(sides)), (config.video_token_id, "video", frames > 0)):
        prompt += [config.vision_start_token_id, token, config.vision_end_token_id] * there
        if there:
            media[kind] = [Image.new("RGB", (side, side)) for side in sides]
    if frames:
        video = np.zeros((frames, SIDE, SIDE, 3), dtype=np.uint8)
        media["video"] = [(video, {"fps": 1.0, "total_num_frames": frames, "frames_indices": list(range(frames))})]
    kwargs = {"keep_ratio": ratio, "reduction_method": method}
    items = processor.info.parse_mm_data(media)
    return processor.apply(ProcessorInputs([*prompt, 7], items, hf_processor_mm_kwargs=kwargs), TimingContext())


def refused(
    processor: Any, *asked: Any, parameter: str = "keep_ratio", code: str = "too_many_unreduced_tokens", **more: Any
) -> str:
    with pytest.raises(VLLMValidationError) as refusal:
        process(processor, *asked, **more)
    assert refusal.value.parameter == parameter
    cause = refusal.value.__cause__
    assert isinstance(cause, InvalidField)
    assert cause.code == code
    return str(cause)


def test_a_prompt_may_be_as_long_before_reduction_as_the_context(processor: Any) -> None:
    taken = 2 * 400 + 2 * 2 + 1
    room = CONTEXT - 1 - taken
    assert len(process(processor, 0.5, SIDE, SIDE, text=room)["prompt_token_ids"]) == CONTEXT - 1 - 400
    assert refused(processor, 0.5, SIDE, SIDE, text=room + 1).startswith("before reduction this prompt has 1000 tokens")


def test_an_enormous_picture_is_refused_before_it_is_processed(processor: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(processor), "_apply_hf_processor_main", None)
    assert "has 16387 tokens" in refused(processor, 0.222, 5_600)


def test_a_picture_that_is_sent_smaller_counts_as_it_is_encoded(processor: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SPPRUNER_ALLOW_METHOD", "1")
    settings.cache_clear()
    assert len(process(processor, 0.05, 4000, method="downscale")["prompt_token_ids"]) < CONTEXT


def test_an_unreduced_prompt_beyond_the_context_is_refused_before_it_is_processed(
    processor: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(type(processor), "_apply_hf_processor_main", None)
    with pytest.raises(VLLMValidationError) as refusal:
        process(processor, 1, SIDE, SIDE, SIDE)
    cause = refusal.value.__cause__
    assert isinstance(cause, InvalidField)
    assert (cause.field, cause.code) == ("messages", "context_length_exceeded")


def test_a_picture_beyond_the_limits_of_pixels_is_refused_at_any_ratio(processor: Any) -> None:
    for ratio in (1, 0.222):
        with pytest.raises(VLLMValidationError, match="10000 x 10000 pixels") as refusal:
            process(processor, ratio, 10_000)
        cause = refusal.value.__cause__
        assert isinstance(cause, InvalidField)
        assert cause.code == "image_too_large"


@pytest.mark.parametrize("ratio", [1, 0.222])
def test_where_the_operator_wants_that_large_pictures_are_shrunk_and_counted(
    processor: Any, monkeypatch: Any, ratio: float
) -> None:
    monkeypatch.setenv("SPPRUNER_SHRINK_LARGE_IMAGES", "1")
    settings.cache_clear()
    output = process(processor, ratio, 2_000, 56)
    tokens = visual_tokens_of(output)
    assert tokens is not None
    assert tokens.as_usage()["shrunk_images"] == 1
    assert 400 < tokens.original < CONTEXT
    assert len(output["prompt_token_ids"]) < CONTEXT


def test_a_picture_that_fits_is_not_shrunk(processor: Any, monkeypatch: Any) -> None:
    usual = process(processor, 0.5, SIDE)
    monkeypatch.setenv("SPPRUNER_SHRINK_LARGE_IMAGES", "1")
    settings.cache_clear()
    output = process(processor, 0.5, SIDE)
    assert output["mm_hashes"] == usual["mm_hashes"]
    tokens = visual_tokens_of(output)
    assert tokens is not None
    assert "shrunk_images" not in tokens.as_usage()


def test_a_video_beside_the_pictures_counts_too(processor: Any) -> None:
    assert len(process(processor, 0.1, SIDE, frames=2)["prompt_token_ids"]) < CONTEXT
    assert "this prompt has 1205 tokens" in refused(processor, 0.1, SIDE, frames=4)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SPPRUNER_MAX_UNREDUCED_TOKENS", "300", "this prompt has 403 tokens; there may be 300"),
        (
            "SPPRUNER_MAX_UNREDUCED_IMAGE_TOKENS",
            "300",
            "image 0 has 400 visual tokens before",
        ),
    ],
)
def test_the_operator_may_lower_either_bound(
    processor: Any, monkeypatch: Any, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    settings.cache_clear()
    assert message in refused(processor, 0.5, SIDE)


def test_the_operator_may_let_in_more_than_the_context(processor: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SPPRUNER_MAX_UNREDUCED_TOKENS", "2000")
    settings.cache_clear()
    assert len(process(processor, 0.1, *[SIDE] * 4)["prompt_token_ids"]) < CONTEXT
