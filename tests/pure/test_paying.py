"""Whether a reduction pays, by figures that are set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sppruner_vllm import parts as channel
from sppruner_vllm.folder import VARIABLE
from sppruner_vllm.parts import publish, published
from sppruner_vllm.planning.paying import Parts, fitted
from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.planner import Prompt, Sent, plan_images
from sppruner_vllm.request.checking import validate_request
from sppruner_vllm.settings import Settings
from sppruner_vllm.wire import StageOrder

PARTS = Parts("focus_context", prefill=1e-3, image=10e-3, row=1e-4, pair=0.0)
METHODS = frozenset({"uniform", "focus_context", "downscale", "hybrid"})


class OneTurn:
    """A template without turns."""

    silent = frozenset({1})

    def spans(self, prompt):
        yield 0, len(prompt)


def plan(
    tokens: int, fields: dict[str, object], *, default: float = 0.5, most: float = 1.0, parts: Parts | None = PARTS
) -> ReductionPlan:
    """The plan of one picture of so many tokens under an operator's default ratio, and the largest one."""
    limits = Settings(keep_ratio=default, max_keep_ratio=most, allow_method=True)
    request = validate_request(fields, limits, METHODS)
    prompt = Prompt([1, 7], 1, OneTurn, lambda text: [])
    (one,) = plan_images([Sent((1, tokens), lambda grid: grid)], prompt, request, limits, parts=parts)
    return one


@pytest.mark.parametrize(("tokens", "pays"), [(4, False), (24, False), (26, True), (1296, True)])
def test_a_tiny_picture_is_left_whole_and_says_why(tokens, pays):
    one = plan(tokens, {})
    assert (one.reduces, one.skipped_reason) == (pays, None if pays else "would_not_pay")


@pytest.mark.parametrize(("ratio", "pays"), [(0.95, False), (0.9, False), (0.8, True)])
def test_a_ratio_near_1_is_left_out_where_selecting_takes_longer_than_it_spares(ratio, pays):
    assert plan(200, {}, default=ratio).reduces == pays


@pytest.mark.parametrize("fields", [{"keep_ratio": 0.5}, {"keep_tokens": 10}])
def test_a_request_that_names_its_budget_gets_it(fields):
    assert plan(20, fields).retained == 10


@pytest.mark.parametrize("fields", [{}, {"keep_ratio": [None]}])
def test_no_more_is_kept_than_there_may_be(fields):
    assert plan(20, fields, most=0.5).retained == 10
    assert plan(20, fields).retained == 20


def test_other_fields_name_no_budget():
    assert not plan(20, {"focus_query": "cat"}).reduces


def test_without_figures_everything_pays():
    assert plan(20, {}, parts=None).reduces


@pytest.mark.parametrize("method", ["uniform", "downscale"])
def test_a_method_that_was_not_measured_counts_as_paying(method):
    assert plan(20, {"reduction_method": method}).reduces


def test_a_stage_that_spares_the_encoder_too_counts_as_paying():
    stages = StageOrder("encoder", "focus_context", 15), StageOrder("rows", "focus_context", 10)
    assert PARTS.pay(ReductionPlan(20, 10, "focus_context", (), None, stages=stages))


def test_repeats_are_not_counted_on():
    rows = StageOrder("rows", "focus_context", 10)
    for stages in ((rows,), (StageOrder("entry", "repeats", 20), rows)):
        assert not PARTS.pay(ReductionPlan(20, 10, "focus_context", (), None, stages=stages))


def test_each_grid_of_a_tiled_picture_takes_a_selection_of_its_own():
    known = replace(PARTS, row=0.0)
    one = ReductionPlan(20, 8, "focus_context", (), None, stages=(StageOrder("rows", "focus_context", 8),))
    assert known.pay(one)
    assert not known.pay(one, [10, 10])
    pairs = replace(PARTS, image=0.0, row=0.0, pair=1e-4)
    assert not pairs.pay(one)
    assert pairs.pay(one, [10, 10])


def test_the_parts_are_found_again_in_what_they_took():
    known = Parts("m", prefill=2e-5, image=3e-4, row=5e-7, pair=2e-9)
    timed = {size: known.selection(*size) for size in ((64, 16), (1024, 256), (1024, 768))}
    found = fitted("m", 2e-5, timed)
    assert (found.image, found.row, found.pair) == pytest.approx((known.image, known.row, known.pair))


def test_noise_makes_no_part_negative():
    found = fitted("m", 1e-5, {(64, 16): 2e-3, (1024, 256): 1e-3, (1024, 768): 0.9e-3})
    assert min(found.image, found.row, found.pair) >= 0


@pytest.mark.parametrize("prefill", [0.0, -1e-6])
def test_tokens_that_seem_to_take_no_time_were_not_measured(prefill: float):
    """Otherwise no reduction would ever pay, for as long as the server runs."""
    with pytest.raises(ValueError, match="took no longer"):
        fitted("m", prefill, {(64, 16): 1e-3, (1024, 256): 2e-3, (1024, 768): 3e-3})


def test_figures_reach_another_process_through_the_servers_folder(monkeypatch, tmp_path: Path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    publish("a model", PARTS)
    monkeypatch.setattr(channel, "_here", {})
    assert (published("a model"), published("another")) == (PARTS, None)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"method": "m"}', "\x00"])
def test_a_file_that_holds_no_figures_counts_as_none(monkeypatch, tmp_path: Path, left: str):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(channel, "_here", {})
    publish("a model", PARTS)
    (file,) = tmp_path.iterdir()
    file.write_text(left)
    monkeypatch.setattr(channel, "_here", {})
    assert published("a model") is None


def test_figures_stay_in_a_process_that_has_no_folder(monkeypatch, tmp_path: Path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(channel, "_here", {})
    publish("a model", PARTS)
    assert published("a model") == PARTS
    monkeypatch.setattr(channel, "_here", {})
    assert published("a model") is None
