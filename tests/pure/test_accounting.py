"""The record of a request's visual tokens."""

from __future__ import annotations

from sppruner_vllm.planning.accounting import VideoTokens, VisualTokens, account, visual_tokens_of
from sppruner_vllm.planning.plan import plan_image
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import Settings

LIMITS = Settings()


def record(
    fields: dict[str, object], originals: list[int], videos: tuple[VideoTokens, ...] = ()
) -> VisualTokens | None:
    request = validate_request(fields, LIMITS, frozenset())
    plans = [plan_image(original, request, (), LIMITS) for original in originals]
    return account(plans, request, [plan.retained for plan in plans], videos)


def test_a_request_without_pictures_has_no_record() -> None:
    assert record({"keep_ratio": 0.5}, []) is None
    assert visual_tokens_of({"prompt_token_ids": [1]}) is None


def test_the_images_of_a_request_are_summed() -> None:
    assert record({"keep_ratio": 0.25}, [100, 40]) == VisualTokens(140, 35, 0.25, "focus_context", None, (None, None))


def test_an_absolute_budget_reports_the_ratio_it_came_to() -> None:
    assert record({"keep_tokens": 30}, [100, 50]) == VisualTokens(150, 60, 0.4, "focus_context", None, (None, None))


def test_a_reason_is_given_only_when_no_image_was_reduced() -> None:
    small_and_large, small = record({"keep_ratio": 0.5}, [2, 100]), record({"keep_ratio": 0.5}, [2])
    assert small_and_large is not None
    assert small is not None
    assert (small_and_large.skipped_reason, small.skipped_reason) == (None, "image_too_small")


def test_a_video_alone_says_whether_it_was_reduced() -> None:
    whole = VideoTokens(60, 60, 1.0, "unsupported_input", 4)
    assert record({"keep_ratio": 0.5}, [], (whole,)) == VisualTokens(
        60, 60, 1.0, "focus_context", "unsupported_input", videos=(whole,)
    )
    reduced = VideoTokens(60, 31, 0.5, None, 4, "question")
    found = record({"keep_ratio": 0.5}, [], (reduced,))
    assert found == VisualTokens(60, 31, 0.5, "focus_context", None, videos=(reduced,))
    assert found.focus_scope == "question"


def test_videos_count_beside_pictures_and_are_told_apart_from_them() -> None:
    found = record({"keep_ratio": 0.5}, [100], (VideoTokens(60, 30, 0.5, None, 4),))
    assert found is not None
    assert (found.original, found.retained, found.keep_ratio, found.skipped_reason) == (160, 80, 0.5, None)
    usage = found.as_usage()
    assert [image["retained"] for image in usage["images"]] == [50]
    assert usage["videos"] == [{"original": 60, "retained": 30, "keep_ratio": 0.5, "skipped_reason": None, "frames": 4}]


def test_a_whole_video_beside_reduced_pictures_shows_in_the_ratio_that_is_told_of_all() -> None:
    whole = VideoTokens(60, 60, 1.0, "unsupported_input")
    found = record({"keep_ratio": 0.5}, [100], (whole,))
    assert found is not None
    assert (found.original, found.retained, found.keep_ratio) == (160, 110, 0.6875)
    assert (found.skipped_reason, found.keep_ratios) == (None, (0.5,))


def test_an_unreduced_image_counts_as_what_was_placed() -> None:
    request = validate_request({"keep_ratio": 1}, LIMITS, frozenset())
    stale = plan_image(200, request, (), LIMITS)
    found = account([stale], request, [144])
    assert found is not None
    assert (found.original, found.retained) == (144, 144)
