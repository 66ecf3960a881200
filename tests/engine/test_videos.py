"""Videos that a keep ratio reduces, through real vLLM: exact counts, original positions, what stands between frames.

Of the families whose prompts lay videos out differently, on engines that other tests started; `make parity` asks all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm.exceptions import VLLMValidationError

from beds import BEDS, Bed
from cases import PORTRAIT
from engines import TOKENS, cached, operated_with, same_answer
from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.request.handed_over import TELLING, Telling
from sppruner_vllm.told import TELL, Told, name_of_frame
from videos import (
    EACH,
    FRAMES,
    SCENES,
    Kind,
    Shown,
    VideoReference,
    ask_all,
    ask_shown,
    recorded_kept,
    recorded_positions,
    shown,
    video_runs,
)

TOLERANCE = 2e-3
"""Largest difference of a logit, float32 on both sides, different kernels; the logits span some units."""

RATIO = 0.4
USUAL = BEDS["qwen2_5_vl"]
"""Whose engines and checkpoint most other tests use."""

MIXED: tuple[Kind, ...] = ("video", "image", "video")


@pytest.fixture(scope="module", params=[BEDS[name] for name in FRAMES], ids=FRAMES)
def family(request: pytest.FixtureRequest) -> Bed:
    """Each family that takes videos."""
    return request.param


@pytest.fixture(scope="module")
def name(family: Bed) -> str:
    return family.name


@pytest.fixture(scope="module")
def engine(family: Bed, request: pytest.FixtureRequest, started: Callable[[Bed], Any]) -> Any:
    return request.getfixturevalue("llm") if family is USUAL else started(family)


@pytest.fixture(scope="module")
def chunks(family: Bed, request: pytest.FixtureRequest, in_chunks: Callable[[Bed], Any]) -> Any:
    """The family's engine whose steps end inside pictures and frames."""
    return request.getfixturevalue("chunked") if family is USUAL else in_chunks(family)


@pytest.fixture(scope="module")
def model(engine: Any) -> Any:
    (found,) = engine.apply_model(lambda one: one)
    return found


@pytest.fixture(scope="module")
def reference(family: Bed, tiny_model: Path, built: Callable[[Bed], Path]) -> VideoReference:
    return VideoReference(tiny_model if family is USUAL else built(family))


def agree(answer: Any, asked: Shown, kept: Any, reference: VideoReference) -> None:
    """An engine answers as transformers does on the rows that it kept, at the places that they had."""
    prompt = reference.prompt(asked, kept)
    assert answer.prompt_ids == reference.ids(asked, prompt.keep), "text between pictures and frames stays"
    tokens, logits = reference.answer(asked, kept, TOKENS)  # type: ignore[arg-type]
    same_answer(answer, tokens, logits)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.222, 0.1])
def test_videos_and_pictures_answer_like_transformers(
    name: str, engine: Any, reference: VideoReference, ratio: float
) -> None:
    asked = shown(name, *MIXED)
    with recorded_kept() as kept:
        answer = ask_shown(engine, asked, ratio)
    if ratio == 1:
        assert (kept.pictures, kept.videos) == ([], [])
        agree(answer, asked, None, reference)
        return
    total = EACH * len(SCENES)
    assert [len(one) for one in kept.pictures] == [retained_tokens(BEDS[name].tokens(PORTRAIT), ratio)]
    for counts in kept.counts:
        assert sum(counts) == max(2 * len(SCENES), retained_tokens(total, ratio))
        assert min(counts) >= 2
        assert counts[1] <= counts[0], "a frame that repeats its predecessor gets less"
    agree(answer, asked, kept, reference)


@pytest.mark.parametrize("kinds", [("video",), ("video", "image"), ("image", "video")], ids="-".join)
def test_kept_tokens_stand_where_they_stood_in_any_order(
    name: str, engine: Any, model: Any, reference: VideoReference, kinds: tuple[Kind, ...]
) -> None:
    asked = shown(name, *kinds)
    with recorded_positions(model) as whole:
        ask_shown(engine, asked, 1.0)
    with recorded_kept() as kept, recorded_positions(model) as reduced:
        answer = ask_shown(engine, asked, RATIO)
    assert kept.counts[0][1] == kept.counts[0][3] == 2, "frames that repeat others have the floor"
    agree(answer, asked, kept, reference)
    stays = reference.prompt(asked, kept).keep
    assert torch.equal(reduced["places"], whole["places"][:, stays])
    assert reduced["delta"] - whole["delta"] == int((~stays).sum())


def test_the_tolerance_tells_right_positions_from_wrong_ones(name: str, engine: Any, reference: VideoReference) -> None:
    """Guards the comparison: the rows of one frame at the time of the next."""
    asked = shown(name, "video")
    with recorded_kept() as kept:
        answer = ask_shown(engine, asked, 0.5)
    prompt = reference.prompt(asked, kept)
    right = reference.logits(prompt, prompt.positions)
    assert (answer.logits[0] - right).abs().max() < TOLERANCE
    later = prompt.positions.clone()
    video = reference.model.config.video_token_id
    later[0, 0, reference._inputs(asked)["input_ids"][0] == video] += 1
    assert (answer.logits[0] - reference.logits(prompt, later)).abs().max() > 2 * TOLERANCE


@pytest.mark.parametrize(("pictures", "ratio"), [(32, 0.25), (128, 0.2)])
def test_long_videos_keep_exactly_their_ratio(
    name: str, engine: Any, model: Any, reference: VideoReference, pictures: int, ratio: float
) -> None:
    frames = pictures // 2
    asked = shown(name, "video", scenes=[number // 4 for number in range(frames)])
    with recorded_kept() as kept, recorded_positions(model) as reduced:
        answer = ask_shown(engine, asked, ratio)
    (counts,) = kept.counts
    assert len(counts) == frames
    assert sum(counts) == retained_tokens(EACH * frames, ratio) > 2 * frames
    assert all(new >= old for new, old in zip(counts[::4], counts[1::4], strict=True))
    prompt = reference.prompt(asked, kept)
    assert answer.prompt_ids == reference.ids(asked, prompt.keep)
    assert torch.equal(reduced["places"], prompt.positions[:, 0, prompt.keep])


@pytest.mark.parametrize(("pictures", "ratio"), [(32, 0.25), (128, 0.2)])
def test_two_long_videos_and_a_picture_in_chunks_answer_like_transformers(
    name: str, chunks: Any, reference: VideoReference, pictures: int, ratio: float
) -> None:
    asked = shown(name, *MIXED, scenes=[number // 4 for number in range(pictures // 2)])
    (model,) = chunks.apply_model(lambda one: one)
    with recorded_kept() as kept, recorded_positions(model) as reduced:
        answer = ask_shown(chunks, asked, ratio)
    total = EACH * pictures // 2
    assert [sum(counts) for counts in kept.counts] == [retained_tokens(total, ratio)] * 2
    assert answer.prompt > 4 * 48, "each video has several chunks"
    agree(answer, asked, kept, reference)
    prompt = reference.prompt(asked, kept)
    assert torch.equal(reduced["places"], prompt.positions[:, 0, prompt.keep])


def test_chunks_that_end_inside_frames_change_nothing(name: str, engine: Any, chunks: Any) -> None:
    several = [shown(name, *MIXED), shown(name, "video"), shown(name, "image", "video")]
    ratios = [{"keep_ratio": ratio} for ratio in (0.5, 1.0, RATIO)]
    alone = [ask_shown(engine, one, **own) for one, own in zip(several, ratios, strict=True)]
    assert alone[0].prompt > 2 * 48
    together = ask_all(chunks, several, ratios)
    for one, other in zip(alone, together, strict=True):
        assert (one.tokens, one.prompt_ids) == (other.tokens, other.prompt_ids)


def test_the_same_request_twice_hits_the_prefix_cache_and_another_ratio_does_not(name: str, engine: Any) -> None:
    asked = shown(name, "video", "image")
    first, again = ask_shown(engine, asked, 0.5), ask_shown(engine, asked, 0.5)
    assert (first.cached, again.tokens, again.prompt_ids) == (0, first.tokens, first.prompt_ids)
    assert again.cached > 32
    other = ask_shown(engine, asked, RATIO)
    assert other.cached == 0
    assert other.prompt < first.prompt


def test_another_question_selects_anew_from_the_rows_of_the_first(
    name: str, engine: Any, model: Any, reference: VideoReference
) -> None:
    asked = shown(name, "video")
    with video_runs(model) as runs:
        ask_shown(engine, asked, RATIO)
        other = replace(asked, question="where is the big red house now")
        with recorded_kept() as kept:
            answer = ask_shown(engine, other, RATIO)
    assert runs == [1]
    agree(answer, other, kept, reference)


def test_one_selection_for_all_questions_is_found_in_the_prefix_cache(name: str, engine: Any) -> None:
    asked = shown(name, "video")
    ask_shown(engine, asked, 0.5, focus_scope="image")
    other = ask_shown(engine, replace(asked, question="why"), 0.5, focus_scope="image")
    assert cached([other]) > 0


def test_what_is_told_of_a_video_is_what_each_frame_kept(name: str, engine: Any) -> None:
    telling = Telling(f"a video of {name}")
    with recorded_kept() as kept:
        ask_shown(engine, shown(name, *MIXED), RATIO, **{TELLING: telling})
    names = [
        [name_of_frame(telling.name_of_video(place), frame) for frame in range(len(SCENES))]
        for place in range(MIXED.count("video"))
    ]
    (found,) = engine.collective_rpc(TELL, args=([one for frames in names for one in frames],))
    told = [[Told.from_message(found[one]) for one in frames] for frames in names]
    assert [[one.kept for one in frames] for frames in told] == kept.videos
    assert all(math.prod(one.grid) == len(one.saliency) == EACH for frames in told for one in frames)


@pytest.mark.parametrize("switch", [{"SALIENCY_ATTENTION": "1"}, {"RANK_ON": "patches"}], ids=str)
def test_what_is_overheard_of_frames_is_that_of_the_same_pictures(
    name: str, engine: Any, reference: VideoReference, switch: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder takes two equal pictures for what it makes of one."""
    from sppruner_vllm.worker import selecting

    seen: list[list[Any]] = []
    reduce = selecting.reduce
    monkeypatch.setattr(
        selecting, "reduce", lambda images, *args, **given: (seen.append(images), reduce(images, *args, **given))[1]
    )
    asked = shown(name, "video", scenes=(0, 1))
    with operated_with(**switch), recorded_kept() as kept:
        answer = ask_shown(engine, asked, 0.5)
        frames = list(asked.videos[0][0][::2])
        pictures = {
            "prompt": replace(asked, kinds=("image", "image")).text,
            "multi_modal_data": {"image": frames},
            "mm_processor_kwargs": {"keep_ratio": 0.5},
        }
        engine.generate(pictures, use_tqdm=False)
    agree(answer, asked, replace(kept, pictures=[]), reference)
    of_video, of_pictures = seen
    for frame, picture in zip(of_video, of_pictures, strict=True):
        for tap in ("rows", "attention", "merger_input"):
            one, other = getattr(frame, tap), getattr(picture, tap)
            assert (one is None) == (other is None)
            assert one is None or torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    assert any(getattr(of_video[0], tap) is not None for tap in ("attention", "merger_input"))


def test_a_video_that_ratio_1_would_be_refused_is_refused_at_any_ratio(name: str, engine: Any) -> None:
    """What vLLM lets an item have of its encoder is held against what the encoder makes, not against what is kept."""
    front = engine.llm_engine.input_processor
    processor, most = front.renderer.get_mm_processor(), front.mm_encoder_cache_size
    assert processor._bounds.video == most
    try:
        processor.know_encoder_room(EACH * len(SCENES) - 1)
        with pytest.raises(
            VLLMValidationError, match=f"video 0 has {EACH * len(SCENES)} visual tokens before reduction"
        ):
            ask_shown(engine, shown(name, "video"), 0.5)
        processor.know_encoder_room(EACH * len(SCENES))
        assert len(ask_shown(engine, shown(name, "video"), 0.5).tokens) == TOKENS
    finally:
        processor.know_encoder_room(most)
