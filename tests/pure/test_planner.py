"""The plans of a request: counts, stages, queries and reasons, for any family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.planner import Prompt, Sent, plan_images
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import Settings
from sppruner_vllm.wire import MOST_TOKENS, StageOrder

IMAGE, SILENT = 1, 2
LIMITS = Settings(max_query_tokens=3)


@dataclass(frozen=True)
class OneTurn:
    """A template without turns."""

    silent: frozenset[int] = frozenset({IMAGE, SILENT})

    def spans(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        yield 0, len(prompt)


def asking(method: str, ratio: float = 0.25, query: str | None = None) -> ReductionRequest:
    return ReductionRequest(ratio, None, query, method)


def plan(ids: list[int], grids: list[Grid], request: ReductionRequest, *, fixed: bool = False) -> list[object]:
    prompt = Prompt(ids, IMAGE, OneTurn, lambda text: [ord(letter) for letter in text])
    sent = [Sent(grid, None if fixed else at_least_four) for grid in grids]
    return list(plan_images(sent, prompt, request, LIMITS))


def at_least_four(grid: Grid) -> Grid:
    return grid if math.prod(grid) >= 4 else (2, 2)


def test_a_selection_is_one_stage_among_the_rows_with_the_question_of_its_turn():
    (one,) = plan([7, IMAGE, SILENT, 8, 9, 10], [(8, 8)], asking("focus_context"))
    assert (one.original, one.encoded, one.retained) == (64, 64, 16)
    assert one.stages == (StageOrder("rows", "focus_context", 16),)
    assert one.query_ids == (8, 9, 10), "the last of them, silent ones left out"


def test_a_query_of_ones_own_stands_for_every_picture():
    plans = plan([IMAGE, 7, IMAGE, 8], [(8, 8), (4, 4)], asking("focus_context", query="abcd"))
    assert [one.query_ids for one in plans] == [(98, 99, 100)] * 2


def test_a_smaller_picture_is_all_that_downscale_does():
    (one,) = plan([IMAGE, 7], [(8, 8)], asking("downscale"))
    assert (one.resized, one.encoded, one.retained, one.stages, one.query_ids) == ((4, 4), 16, 16, (), ())


def test_a_hybrid_makes_the_picture_smaller_and_then_selects():
    (one,) = plan([IMAGE, 7], [(8, 8)], asking("hybrid"))
    assert one.resized is not None
    assert 16 < one.encoded < 64
    assert (one.retained, one.stages) == (16, (StageOrder("rows", "focus_context", 16),))


@pytest.mark.parametrize(
    ("method", "reason", "stages"), [("downscale", "unsupported_input", 0), ("hybrid", None, 1), ("uniform", None, 1)]
)
def test_a_picture_of_one_size_only_is_reduced_by_the_worker_or_says_why_not(method, reason, stages):
    (one,) = plan([IMAGE, 7], [(8, 8)], asking(method), fixed=True)
    assert (one.resized, one.skipped_reason, len(one.stages)) == (None, reason, stages)


@pytest.mark.parametrize(
    ("ids", "grids"),
    [
        ([7, IMAGE], [(8, 8)]),
        ([IMAGE, 7, IMAGE, 8], [(8, 8), (1, 1)]),
        ([IMAGE, 7], [(8, 8), (8, 8)]),
        ([IMAGE, 7], [(MOST_TOKENS + 1, 1)]),
    ],
)
def test_pictures_whose_rows_could_not_be_placed_are_left_whole(ids, grids):
    plans = plan(ids, grids, asking("focus_context"))
    assert {one.skipped_reason for one in plans} == {"unsupported_input"}
    assert all(not one.reduces and not one.stages for one in plans)


def test_at_ratio_1_nobody_looks_at_the_prompt():
    (one,) = plan([], [(8, 8)], asking("focus_context", ratio=1))
    assert one.skipped_reason == "keep_ratio_is_1"


def cut(
    method: str, grid: Grid, ratio: float = 0.25, *, factor: float = 2, block: int | None = 7, skips: bool | None = None
) -> ReductionPlan:
    """skips: whether the model can leave repeats out; None where the operator does not want it."""
    prompt = Prompt([IMAGE, 7], IMAGE, OneTurn, lambda text: [])
    limits = Settings(encoder_cut=factor, skip_repeats=skips is not None)
    sent = [Sent(grid, at_least_four)]
    (one,) = plan_images(sent, prompt, asking(method, ratio), limits, cut_block=block, skips=bool(skips))
    return one


def test_a_cut_comes_before_the_selection_and_leaves_the_counts_alone():
    one = cut("focus_context", (8, 8))
    assert one.stages == (StageOrder("encoder", "unlike", 32, 7), StageOrder("rows", "focus_context", 16))
    assert (one.original, one.encoded, one.retained, one.query_ids) == (64, 64, 16, (7,))
    assert cut("uniform", (8, 8), factor=1.5).stages[0].budget == 24
    assert cut("uniform", (9, 9), ratio=0.111, factor=1.5).stages[0].budget == 14, "of nine kept, rounded up"


@pytest.mark.parametrize(
    ("method", "ratio", "factor", "block"),
    [
        ("focus_context", 0.4, 2, 7),  # four fifths would go on
        ("focus_context", 0.25, 0, 7),  # the operator does not want it
        ("focus_context", 0.25, 2, None),  # the model cannot
        ("hybrid", 0.25, 2, 7),  # a smaller picture, of which nearly all would go on
    ],
)
def test_a_cut_that_is_not_wanted_or_could_not_pay_is_left_out(method, ratio, factor, block):
    assert [stage.where for stage in cut(method, (8, 8), ratio, factor=factor, block=block).stages] == ["rows"]


def test_repeats_are_left_out_first_whatever_the_budget():
    entry, rows = StageOrder("entry", "repeats", 64), StageOrder("rows", "uniform", 16)
    assert cut("uniform", (8, 8), factor=0, skips=True).stages == (entry, rows)
    assert cut("uniform", (8, 8), skips=True).stages == (entry, StageOrder("encoder", "unlike", 32, 7), rows)
    assert cut("uniform", (8, 8), 0.9, factor=0, skips=True).stages[0] == entry
    smaller = cut("hybrid", (8, 8), factor=0, skips=True)
    assert smaller.stages[0].budget == smaller.encoded < 64


@pytest.mark.parametrize(("method", "ratio", "skips"), [("uniform", 0.5, False), ("uniform", 1, True)])
def test_repeats_stay_where_the_model_cannot_or_nothing_is_reduced(method, ratio, skips):
    stages = cut(method, (8, 8), ratio, factor=0, skips=skips).stages
    assert "entry" not in [stage.where for stage in stages]
    assert cut("downscale", (8, 8), skips=True).stages == ()


def test_a_smaller_picture_of_which_much_is_dropped_is_cut_too():
    assert [stage.where for stage in cut("hybrid", (40, 40), 0.04).stages] == ["encoder", "rows"]
    assert cut("downscale", (8, 8)).stages == ()
