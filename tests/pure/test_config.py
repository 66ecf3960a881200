"""Request fields, operator settings and the plan for an image."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.auto import auto_ratio
from sppruner_vllm.planning.plan import plan_image, retained_tokens
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import FocusScope, Settings

DEFAULTS = Settings()
METHODS = frozenset({"uniform"})


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, math.inf, 10**400, "0.5", True, [1.5], ["0.5"], {}])
def test_a_keep_ratio_outside_0_to_1_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidField) as refusal:
        validate_request({"keep_ratio": value}, DEFAULTS, METHODS)
    assert (refusal.value.field, refusal.value.code) == ("keep_ratio", "invalid_keep_ratio")


@pytest.mark.parametrize("value", [0.05, 0.222, 1, 1.0, np.float32(0.25), Fraction(1, 4)])
def test_a_keep_ratio_up_to_1_is_taken(value: float) -> None:
    taken = validate_request({"keep_ratio": value}, DEFAULTS, METHODS).keep_ratio
    assert taken == value
    assert type(taken) is float


def test_a_count_may_be_an_integer_of_any_library() -> None:
    """`LLM.chat` is called with what a program has reckoned."""
    taken = validate_request({"keep_tokens": np.int64(9)}, DEFAULTS, METHODS).keep_tokens
    assert (taken, type(taken)) == (9, int)


def test_a_request_without_fields_gets_the_operators_defaults() -> None:
    request = validate_request({}, Settings(keep_ratio=0.5), METHODS)
    assert (request.keep_ratio, request.keep_tokens, request.focus_query) == (0.5, None, None)
    assert request.method == DEFAULTS.method


@pytest.mark.parametrize(
    ("fields", "takes"),
    [
        ({}, True),
        ({"keep_ratio": None}, True),
        ({"keep_ratio": [0.5, None]}, True),
        ({"keep_ratio": [0.5, "auto"]}, False),
        ({"keep_ratio": 1}, False),
        ({"keep_ratio": "auto"}, False),
        ({"keep_tokens": 5}, False),
        ({"keep_tokens_total": 5}, False),
        ({"max_pixels": 10**6}, True),
    ],
)
def test_a_request_takes_the_default_where_it_names_no_budget(fields: dict[str, object], takes: bool) -> None:
    assert validate_request(fields, DEFAULTS, METHODS).takes_default is takes


def test_the_operators_bounds_hold_for_requests() -> None:
    limits = Settings(keep_ratio=0.5, min_keep_ratio=0.2, max_keep_ratio=0.6)
    for value in (0.1, 0.7):
        with pytest.raises(InvalidField, match="between"):
            validate_request({"keep_ratio": value}, limits, METHODS)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"keep_tokens": 1}, "keep_tokens"),
        ({"keep_tokens": True}, "keep_tokens"),
        ({"keep_tokens": 3.0}, "keep_tokens"),
        ({"keep_tokens": 10, "keep_ratio": 0.5}, "keep_tokens"),
        ({"focus_query": 3}, "focus_query"),
        ({"focus_query": "x" * 5000}, "focus_query"),
        ({"focus_query": "\ud800"}, "focus_query"),
        ({"focus_scope": "picture"}, "focus_scope"),
        ({"focus_scope": ["image"]}, "focus_scope"),
        ({"focus_scope": "image", "focus_query": "the cat"}, "focus_scope"),
        ({"reduction_method": "uniform"}, "reduction_method"),
    ],
)
def test_every_other_bad_field_is_refused_by_name(fields: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        validate_request(fields, DEFAULTS, METHODS)
    assert refusal.value.field == name


def test_a_ratio_that_fits_grows_with_detail_and_stays_within_the_bounds() -> None:
    limits = Settings(auto_least_ratio=0.2, auto_reading_ratio=0.8, auto_whole_tokens=50)
    request = validate_request({"keep_ratio": "auto"}, limits, METHODS)
    ratios = [auto_ratio(100, detail / 10, request, limits) for detail in range(11)]
    assert ratios == sorted(ratios)
    assert (ratios[0], ratios[5], ratios[10]) == (0.2, 0.8, 0.8)
    assert auto_ratio(50, 0.0, request, limits) == 1
    narrow = limits.narrowed(0.3, 0.5)
    bounded = validate_request({"keep_ratio": "auto"}, narrow, METHODS)
    assert [auto_ratio(tokens, detail, bounded, limits) for tokens, detail in [(99, 0), (99, 1), (9, 0)]] == [
        0.3,
        0.5,
        0.5,
    ]


def test_a_least_ratio_above_the_one_for_reading_is_refused() -> None:
    with pytest.raises(ValidationError, match="auto_least_ratio <= auto_reading_ratio"):
        Settings(auto_least_ratio=0.7)


def test_a_method_may_be_chosen_once_the_operator_allows_it() -> None:
    limits = Settings(allow_method=True)
    assert validate_request({"reduction_method": "uniform"}, limits, METHODS).method == "uniform"
    with pytest.raises(InvalidField, match="uniform"):
        validate_request({"reduction_method": "fastv"}, limits, METHODS)


@pytest.mark.parametrize(
    ("total", "ratio", "kept"), [(1296, 0.222, 288), (1296, 2 / 9, 288), (100, 0.07, 7), (4, 0.01, 2), (1, 0.5, 1)]
)
def test_the_budget_rounds_up_and_respects_the_floor(total: int, ratio: float, kept: int) -> None:
    assert retained_tokens(total, ratio) == kept


def test_nothing_reduced_always_says_why() -> None:
    everything = validate_request({"keep_ratio": 1}, DEFAULTS, METHODS)
    assert plan_image(100, everything, (1,), DEFAULTS).skipped_reason == "keep_ratio_is_1"
    some = validate_request({"keep_ratio": 0.5}, DEFAULTS, METHODS)
    assert plan_image(2, some, (1,), DEFAULTS).skipped_reason == "image_too_small"
    assert plan_image(100, some, (1,), DEFAULTS).skipped_reason is None


def test_an_absolute_budget_stays_within_the_operators_ratio_bounds() -> None:
    limits = Settings(keep_ratio=0.3, min_keep_ratio=0.1, max_keep_ratio=0.5)
    for asked, kept in ((5, 10), (30, 30), (90, 50)):
        request = validate_request({"keep_tokens": asked}, limits, METHODS)
        assert plan_image(100, request, (), limits).retained == kept


def test_a_smaller_image_is_what_the_encoder_sees() -> None:
    plan = plan_image(100, validate_request({"keep_ratio": 0.1}, DEFAULTS, METHODS), (), DEFAULTS)
    assert plan.encoded == 100
    assert replace(plan, resized=(4, 8)).encoded == 32


@pytest.mark.parametrize("default", ["question", "image", "auto"])
def test_a_scope_is_the_operators_unless_the_request_names_one_or_a_text(default: FocusScope) -> None:
    limits = Settings(focus_scope=default)
    assert validate_request({}, limits, METHODS).focus_scope == default
    assert validate_request({"focus_scope": "image"}, limits, METHODS).focus_scope == "image"
    assert validate_request({"focus_query": "the cat"}, limits, METHODS).focus_scope == "question"
    both = {"focus_query": "the cat", "focus_scope": "auto"}
    assert validate_request(both, limits, METHODS).focus_scope == "question"


def test_a_shared_budget_above_the_largest_ratio_is_refused() -> None:
    with pytest.raises(ValidationError, match="shared_keep_ratio <= max_keep_ratio"):
        Settings(max_keep_ratio=0.5, keep_ratio=0.5, shared_keep_ratio=0.6)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"load_floor_ratio": 0.1, "min_keep_ratio": 0.2}, "min_keep_ratio <= load_floor_ratio"),
        ({"load_floor_ratio": 0.6, "keep_ratio": 0.5}, "load_floor_ratio <= keep_ratio"),
        ({"load_begins": 8, "load_ends": 8}, "load_begins < load_ends"),
        ({"load_floor_ratio": 0}, "greater than 0"),
        ({"grafana_url": "javascript:alert(1)"}, "http://"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Settings(**fields)


def test_an_empty_variable_is_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_LOAD_FLOOR_RATIO", "")
    assert Settings().load_floor_ratio is None


def test_settings_out_of_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_KEEP_RATIO", "0.5")
    monkeypatch.setenv("SPPRUNER_MIN_KEEP_RATIO", "0.6")
    with pytest.raises(ValidationError, match="min_keep_ratio"):
        Settings()


@pytest.mark.parametrize("depth", [-0.1, 1.0, math.nan, math.inf])
def test_a_question_goes_through_a_part_of_the_layers(depth: float) -> None:
    with pytest.raises(ValidationError):
        Settings(question_depth=depth)


def test_a_question_is_read_by_layers_or_looked_up(tmp_path: Path) -> None:
    table = tmp_path / "states"
    table.touch()
    assert Settings(state_table=table).question_depth is None
    with pytest.raises(ValidationError, match="exclude each other"):
        Settings(question_depth=0.4, state_table=table)


@pytest.mark.parametrize("factor", [-1, 0.5, math.inf, math.nan])
def test_a_cut_leaves_all_or_at_least_what_is_kept(factor: float) -> None:
    with pytest.raises(ValidationError):
        Settings(encoder_cut=factor)
