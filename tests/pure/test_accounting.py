"""The record of a request's visual tokens."""

from __future__ import annotations

from sppruner_vllm.planning.accounting import VisualTokens, account, visual_tokens_of
from sppruner_vllm.planning.plan import plan_image
from sppruner_vllm.request import validate_request
from sppruner_vllm.settings import Settings

LIMITS = Settings()


def record(fields: dict[str, object], originals: list[int], videos: tuple[int, ...] = ()) -> VisualTokens | None:
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


def test_a_video_alone_says_that_it_is_not_reduced() -> None:
    assert record({"keep_ratio": 0.5}, [], (60,)) == VisualTokens(60, 60, 1.0, "focus_context", "unsupported_input")
    assert record({"keep_ratio": 1}, [], (60,)) == VisualTokens(60, 60, 1.0, "focus_context", "keep_ratio_is_1")


def test_an_unreduced_image_counts_as_what_was_placed() -> None:
    request = validate_request({"keep_ratio": 1}, LIMITS, frozenset())
    stale = plan_image(200, request, (), LIMITS)
    found = account([stale], request, [144], ())
    assert found is not None
    assert (found.original, found.retained) == (144, 144)
