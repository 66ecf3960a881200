"""What an engine answered, how two of them differ, and what a step's outcome shows to have happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

ROUNDING: Final = 1e-4
"""Logits that differ by less are equal: runners put a batch in another order, which may add up otherwise."""


IN_A_ROW: Final = 3
"""Most times that a token follows itself in a text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """prompt: its token ids after reduction. cached: how many of them the prefix cache had. logits: (tokens, V).

    starts: of each step that computed tokens of the prompt, the place of the first of them.
    """

    tokens: list[int]
    prompt: list[int]
    cached: int
    logits: list[list[float]]
    starts: list[int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one step. preemptions, encoder_runs: during this step.

    told: of each picture that was asked about, what a worker says that it keeps. kept: of each picture, what it kept.
    """

    answers: list[Answer]
    preemptions: int
    scheduled_ahead: bool
    encoder_runs: int
    told: list[list[int]] = field(default_factory=list)
    kept: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """What one process saw: modules of the classes at work, by part; interpreted Triton kernels; outcomes by step."""

    classes: dict[str, str]
    kernels: list[str]
    outcomes: dict[str, Outcome]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Report:
        found: dict[str, Any] = json.loads(path.read_text())
        outcomes = {
            name: Outcome(**{**outcome, "answers": [Answer(**answer) for answer in outcome["answers"]]})
            for name, outcome in found["outcomes"].items()
        }
        return cls(found["classes"], found["kernels"], outcomes)


def differences(ours: Outcome, theirs: Outcome) -> list[str]:
    """One line for each way in which an answer differs; none when all are alike."""
    lines = []
    for number, (one, two) in enumerate(zip(ours.answers, theirs.answers, strict=True)):
        for name in ("prompt", "cached", "tokens"):
            if (left := getattr(one, name)) != (right := getattr(two, name)):
                lines.append(f"answer {number}: {name} {left} against {right}")
        if (apart := _farthest(one, two)) > ROUNDING:
            lines.append(f"answer {number}: logits up to {apart:.2g} apart")
    lines += [f"told {one} against {two}" for one, two in zip(ours.told, theirs.told, strict=True) if one != two]
    return lines


def _farthest(one: Answer, two: Answer) -> float:
    """Largest difference of two logits, up to and including the first token that differs: later ones were fed apart."""
    alike = next((n for n, (a, b) in enumerate(zip(one.tokens, two.tokens, strict=True)) if a != b), len(one.tokens))
    left, right = (np.array(answer.logits[: alike + 1]) for answer in (one, two))
    return float(np.abs(left - right).max())


def _pictures(prompt: Sequence[int]) -> list[range]:
    """Where the pictures' placeholders are: a token that stands there more often in a row than in any text of ours."""
    runs, start = [], 0
    for _, same in groupby(prompt):
        end = start + len(list(same))
        if end - start > IN_A_ROW:
            runs.append(range(start, end))
        start = end
    return runs


def _is_inside(boundary: int, picture: range) -> bool:
    """Whether rows of the picture lie on both sides of the boundary."""
    return picture.start < boundary < picture.stop


def _cuts_a_picture(outcome: Outcome) -> bool:
    return any(
        _is_inside(boundary, picture)
        for answer in outcome.answers
        for picture in _pictures(answer.prompt)
        for boundary in answer.starts[1:]
    )


def _ends_inside_picture_2(outcome: Outcome) -> bool:
    return any(_is_inside(answer.cached, _pictures(answer.prompt)[1]) for answer in outcome.answers)


FACTS: Final[Mapping[str, Callable[[Outcome], bool]]] = {
    "one chunk": lambda outcome: all(len(answer.starts) == 1 for answer in outcome.answers),
    "a chunk ends inside a picture": _cuts_a_picture,
    "a prefix is cached": lambda outcome: any(answer.cached > 0 for answer in outcome.answers),
    "a cached prefix ends inside picture 2": _ends_inside_picture_2,
    "a request was preempted": lambda outcome: outcome.preemptions > 0,
    "no picture is encoded": lambda outcome: outcome.encoder_runs == 0,
    "what is told is what was kept": lambda outcome: (
        bool(outcome.told) and sorted(outcome.told) == sorted(outcome.kept)
    ),
    "scheduled ahead": lambda outcome: outcome.scheduled_ahead,
}
"""By name: whether a step's outcome bears it out. Those on chunks hold for requests that were asked alone."""
