"""What is asked of a video before its size is known, and its plan once it is."""

from __future__ import annotations

from typing import Any

import pytest

from sppruner_vllm.planning.paying import Parts
from sppruner_vllm.planning.scope import FirstQuestions
from sppruner_vllm.planning.videos import VideoAsk, ask_of_video, plan_video
from sppruner_vllm.recipes import request_methods
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import Settings

ASK = VideoAsk("key", 0.25, 2, "focus_context", (5, 6))
WHOLE = VideoAsk("key", 1.0, 2, "uniform", (7,), "keep_ratio_is_1")
DEAR = Parts("focus_context", prefill=1e-6, image=1.0, row=0.0, pair=0.0)


class Memory(dict[bytes, bytes]):
    def recall(self, image: bytes) -> bytes | None:
        return self.get(image)

    def note(self, image: bytes, question: bytes) -> None:
        self.setdefault(image, question)


def asked(
    fields: dict[str, object],
    memory: Memory | None = None,
    query: tuple[int, ...] = (5, 6),
    part: int | None = None,
    unsupported: bool = False,
    **settings: Any,
) -> VideoAsk:
    limits = Settings(**{"keep_ratio": 0.5, "allow_method": True, **settings})
    known = FirstQuestions(lambda: Memory() if memory is None else memory)
    ask = ask_of_video(
        "key",
        validate_request(fields, limits, request_methods()),
        query,
        limits,
        known,
        unsupported=unsupported,
        part=part,
    )
    known.keep()
    return ask


def test_a_video_that_may_not_stay_whole_is_not_left_so_for_what_it_costs() -> None:
    assert not asked({}, keep_ratio=0.5, max_keep_ratio=0.5).guarded


def test_a_plain_ratio_is_for_videos_too_and_insists() -> None:
    ask = asked({"keep_ratio": 0.2})
    assert (ask.ratio, ask.query_ids, ask.scope, ask.guarded, ask.reduces) == (0.2, (5, 6), "question", False, True)


@pytest.mark.parametrize(
    "fields",
    [{}, {"keep_ratio": "auto"}, {"keep_ratio": [1, 0.1]}, {"keep_tokens": 9}],
    ids=str,
)
def test_any_other_budget_leaves_videos_to_the_operators_default(fields: dict[str, object]) -> None:
    ask = asked(fields)
    assert (ask.ratio, ask.guarded, ask.whole) == (0.5, True, None)
    assert asked(fields, keep_ratio=1.0).whole == "keep_ratio_is_1"


def test_a_method_that_makes_pictures_smaller_selects_alone_or_does_nothing() -> None:
    assert asked({"reduction_method": "hybrid"}).method == "focus_context"
    assert asked({"reduction_method": "downscale"}).whole == "unsupported_input"


def test_a_method_that_reads_no_question_has_none() -> None:
    ask = asked({"reduction_method": "uniform"})
    assert (ask.query_ids, ask.scope) == ((), None)


def test_one_selection_may_serve_all_questions() -> None:
    ask = asked({"focus_scope": "image"}, query=())
    assert (ask.query_ids, ask.scope) == ((), "image")


def test_under_auto_the_first_question_steers_and_others_share() -> None:
    memory = Memory()
    first, other, again = (asked({"focus_scope": "auto"}, memory, query) for query in ((5,), (6,), (5,)))
    assert (first.query_ids, first.scope) == ((5,), "question")
    assert (other.query_ids, other.scope, other.ratio, other.raised) == ((), "image", 0.5, False)
    assert again == first


def test_the_operator_may_let_a_shared_selection_keep_more() -> None:
    memory = Memory()
    _, other = (asked({"focus_scope": "auto"}, memory, query, shared_keep_ratio=0.75) for query in ((5,), (6,)))
    assert (other.ratio, other.raised) == (0.75, True)
    memory = Memory()
    _, other = (asked({"focus_scope": "auto"}, memory, query, shared_keep_ratio=1.0) for query in ((5,), (6,)))
    assert (other.whole, other.reduces) == ("keep_ratio_is_1", False)


def test_a_part_of_a_budget_that_all_share_wins_over_every_ratio_and_nothing_raises_it() -> None:
    memory = Memory()
    fields = {"keep_tokens_total": 90, "focus_scope": "auto"}
    first, other = (
        asked(fields, memory, query, part=40, keep_ratio=1.0, shared_keep_ratio=0.9) for query in ((5,), (6,))
    )
    for ask in (first, other):
        assert (ask.tokens, ask.guarded, ask.raised, ask.reduces) == (40, False, False, True)
        assert plan_video(ask, (4, 8, 12), None).retained == 40
    assert (first.scope, other.scope) == ("question", "image")
    assert first.budget != asked(fields, part=41).budget


def test_a_video_that_can_have_no_part_of_a_budget_says_that_it_is_unsupported() -> None:
    ask = asked({"keep_tokens_total": 90}, keep_ratio=1.0, unsupported=True)
    assert (ask.whole, ask.reduces) == ("unsupported_input", False)
    assert asked({}, keep_ratio=1.0, unsupported=True).whole == "keep_ratio_is_1"


@pytest.mark.parametrize(("part", "kept"), [(3, 8), (384, 384), (900, 384)])
def test_a_part_is_held_between_two_tokens_a_frame_and_all(part: int, kept: int) -> None:
    plan = plan_video(VideoAsk("key", 1.0, 2, "uniform", tokens=part), (4, 8, 12), None)
    assert plan.retained == kept
    assert plan.skipped_reason == ("image_too_small" if kept == 384 else None)


@pytest.mark.parametrize(("frames", "kept"), [(16, 16 * 24), (64, 64 * 24)])
def test_a_video_keeps_exactly_its_ratio(frames: int, kept: int) -> None:
    plan = plan_video(ASK, (frames, 8, 12), [1.0, *[0.3] * (frames - 1)])
    assert (plan.original, plan.retained) == (frames * 96, kept)
    assert min(plan.kept) >= 6
    assert plan.stages[0].budget == kept
    assert plan.query_ids == (5, 6)


def test_a_still_video_keeps_most_of_its_first_frame() -> None:
    plan = plan_video(ASK, (4, 8, 12), [1.0, 0.0, 0.0, 0.0])
    assert plan.kept == (78, 6, 6, 6)


def test_every_frame_keeps_two_tokens_at_any_ratio() -> None:
    plan = plan_video(VideoAsk("key", 0.01, 2, "uniform"), (64, 2, 2), [1.0, *[0.0] * 63])
    assert plan.kept == (2,) * 64


def test_only_what_is_kept_has_to_be_told_apart() -> None:
    assert plan_video(VideoAsk("key", 0.1, 2, "uniform"), (700, 10, 10), None).retained == 7_000


@pytest.mark.parametrize(
    ("ask", "grid", "reason"),
    [
        (WHOLE, (4, 8, 12), "keep_ratio_is_1"),
        (VideoAsk("key", 0.95, 2, "uniform"), (700, 10, 10), "unsupported_input"),
        (VideoAsk("key", 0.5, 2, "uniform"), (3, 1, 2), "image_too_small"),
    ],
    ids=["a ratio of 1", "more tokens kept than can be told apart", "frames of two tokens"],
)
def test_a_video_that_stays_whole_asks_nothing_of_the_worker(
    ask: VideoAsk, grid: tuple[int, int, int], reason: str
) -> None:
    plan = plan_video(ask, grid, None)
    assert plan.kept == (grid[1] * grid[2],) * grid[0]
    assert (plan.reduces, plan.skipped_reason) == (False, reason)
    assert (plan.stages, plan.query_ids) == ((), ())


def test_under_a_default_ratio_a_video_stays_whole_where_selecting_takes_longer_than_it_saves() -> None:
    ask = VideoAsk("key", 0.25, 2, "focus_context", guarded=True)
    assert plan_video(ask, (4, 8, 12), None, DEAR).skipped_reason == "would_not_pay"
    assert plan_video(ask, (4, 8, 12), None).reduces
    assert plan_video(ASK, (4, 8, 12), None, DEAR).reduces
    assert plan_video(VideoAsk("key", 0.25, 2, "uniform", guarded=True), (4, 8, 12), None, DEAR).reduces
