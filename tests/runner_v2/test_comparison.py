"""The comparison itself: it sees what differs, and only that; and the facts see what happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from outcomes import FACTS, ROUNDING, Answer, Outcome, Report, differences
from scenarios import ENGINES

TEXT = [1, 2, 3]
PROMPT = [1, 9, 9, 9, 9, 2, 8, 8, 8, 8, 3]
"""Two pictures of four tokens each, at 1 to 4 and 6 to 9."""

ANSWER = Answer(tokens=[5, 6], prompt=PROMPT, cached=0, logits=[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], starts=[0])
OUTCOME = Outcome([ANSWER, ANSWER], preemptions=0, scheduled_ahead=False, encoder_runs=1)


def second_answer(**changes: object) -> Outcome:
    return replace(OUTCOME, answers=[ANSWER, replace(ANSWER, **changes)])


def test_an_outcome_differs_in_nothing_from_itself() -> None:
    assert differences(OUTCOME, OUTCOME) == []


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"tokens": [5, 7]}, "answer 1: tokens [5, 6] against [5, 7]"),
        ({"prompt": TEXT}, f"answer 1: prompt {PROMPT} against {TEXT}"),
        ({"cached": 32}, "answer 1: cached 0 against 32"),
        ({"logits": [[0.0, 1.0, 2.0], [3.0, 4.5, 5.0]]}, "answer 1: logits up to 0.5 apart"),
    ],
)
def test_each_thing_that_differs_is_named(changes: dict[str, object], seen: str) -> None:
    assert differences(OUTCOME, second_answer(**changes)) == [seen]


def test_another_selection_that_is_told_is_named() -> None:
    ours, theirs = replace(OUTCOME, told=[[1, 2]]), replace(OUTCOME, told=[[1, 3]])
    assert differences(ours, theirs) == ["told [1, 2] against [1, 3]"]


def test_rounding_is_no_difference() -> None:
    assert differences(OUTCOME, second_answer(logits=[[0.0, 1.0, 2.0], [3.0, 4.0 + ROUNDING / 2, 5.0]])) == []


def test_logits_after_the_first_other_token_are_not_compared() -> None:
    other = second_answer(tokens=[7, 6], logits=[[0.0, 1.0, 2.0], [9.0, 9.0, 9.0]])
    assert differences(OUTCOME, other) == ["answer 1: tokens [5, 6] against [7, 6]"]


def test_an_answer_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        differences(OUTCOME, replace(OUTCOME, answers=[ANSWER]))


@pytest.mark.parametrize(
    ("fact", "outcome", "holds"),
    [
        ("one chunk", OUTCOME, True),
        ("one chunk", second_answer(starts=[0, 10]), False),
        ("a chunk ends inside a picture", second_answer(starts=[0, 2]), True),
        ("a chunk ends inside a picture", second_answer(starts=[0, 6]), False),
        ("a chunk ends inside a picture", second_answer(starts=[0, 5]), False),
        ("a chunk ends inside a picture", second_answer(cached=2, starts=[2, 5]), False),
        ("a prefix is cached", second_answer(cached=1), True),
        ("a prefix is cached", OUTCOME, False),
        ("a cached prefix ends inside picture 2", second_answer(cached=8), True),
        ("a cached prefix ends inside picture 2", second_answer(cached=3), False),
        ("a cached prefix ends inside picture 2", second_answer(cached=10), False),
        ("a request was preempted", replace(OUTCOME, preemptions=1), True),
        ("a request was preempted", OUTCOME, False),
        ("no picture is encoded", replace(OUTCOME, encoder_runs=0), True),
        ("no picture is encoded", OUTCOME, False),
        ("what is told is what was kept", replace(OUTCOME, told=[[1], [2, 3]], kept=[[2, 3], [1]]), True),
        ("what is told is what was kept", replace(OUTCOME, told=[[1], [2, 3]], kept=[[2, 4], [1]]), False),
        ("what is told is what was kept", OUTCOME, False),
        ("scheduled ahead", replace(OUTCOME, scheduled_ahead=True), True),
        ("scheduled ahead", OUTCOME, False),
    ],
)
def test_a_fact_holds_only_where_it_happened(fact: str, outcome: Outcome, holds: bool) -> None:
    assert FACTS[fact](outcome) == holds


def test_a_report_reads_as_it_was_written(tmp_path: Path) -> None:
    report = Report({"runner": "some.module"}, ["kernel"], {"a step": OUTCOME})
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report


def test_every_fact_that_a_step_shows_is_known() -> None:
    assert {fact for engine in ENGINES for step in engine.steps for fact in step.shows} <= set(FACTS)
