"""From answers to figures: accuracy with intervals, cost, and who beats whom.

Only questions answered under every condition count, so that all figures are about the same questions.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Bootstrap, Interval, Scores
from .conditions import FULL, Condition
from .records import Header, Kept, Record


@dataclass(frozen=True, slots=True)
class Figures:
    """Answers of one condition to one set of questions.

    accuracy: mean score. relative: as a share of the full image's. against: mean score minus the opponent's at the same
    ratio; None for the opponent and for the full image.
    """

    questions: int
    accuracy: Interval
    relative: Interval
    against: Interval | None


@dataclass(frozen=True, slots=True)
class Row:
    """A condition's figures. original, retained, prompt_tokens: means per question. ttft: median seconds.
    throughput: questions per second. None where nobody could tell.
    """

    method: str
    ratio: float
    overall: Figures
    families: Mapping[str, Figures]
    original: float | None
    retained: float | None
    prompt_tokens: float | None
    ttft: float | None
    throughput: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows, the reference first. asked: questions of the run; complete: those answered under every condition."""

    opponent: str
    resamples: int
    asked: int
    complete: int
    groups: int
    families: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def full(self) -> Row:
        return self.rows[0]

    def at(self, method: str, ratio: float) -> Row | None:
        """The row of a condition, None when it was not measured."""
        return next((row for row in self.rows if (row.method, row.ratio) == (method, ratio)), None)


class NothingToReport(RuntimeError):
    """No question was answered under every condition."""


def summarise(header: Header, kept: Kept, opponent: str, resamples: int) -> Summary:
    """The figures of a run.

    Args:
        header: says which conditions and questions to look at.
        kept: the run's answers.
        opponent: method that the others are compared with at equal ratio.
        resamples: of the bootstrap.

    Raises:
        NothingToReport: there is no complete question.
    """
    table = _Table(header, kept)
    families = tuple(dict.fromkeys(sorted(set(table.families))))
    judges = {"": _Judge(table, np.ones(len(table.names), dtype=bool), opponent, resamples, header.seed)}
    for family in families:
        mask = np.array([one == family for one in table.families])
        judges[family] = _Judge(table, mask, opponent, resamples, header.seed)
    rows = []
    for condition in table.scores:
        answers = table.answers[condition]
        original = _mean(answer.original for answer in table.answers[FULL])
        rows.append(
            Row(
                method=condition.method,
                ratio=condition.ratio,
                overall=judges[""].figures(condition),
                families={family: judges[family].figures(condition) for family in families},
                original=original,
                retained=_mean(answer.retained for answer in answers),
                prompt_tokens=_mean(answer.prompt_tokens for answer in answers),
                ttft=_median(answer.ttft for answer in answers),
                throughput=_throughput(kept, condition),
            )
        )
    groups = len(set(table.groups))
    return Summary(opponent, resamples, len(header.questions), len(table.names), groups, families, tuple(rows))


class _Table:
    """Scores of the complete questions, all conditions in the same order of questions."""

    def __init__(self, header: Header, kept: Kept) -> None:
        wanted = [FULL] + [
            Condition(method, ratio)
            for ratio in header.ratios
            for method in header.methods
            if Condition(method, ratio) != FULL and ratio < 1 and method != FULL.method
        ]
        self.names = [
            name
            for name, content in header.questions.items()
            if all(kept.has(condition, name, content) for condition in wanted)
        ]
        if not self.names:
            raise NothingToReport("no question has been answered under every condition yet")
        self.answers: dict[Condition, list[Record]] = {
            condition: [kept.records[condition, name, header.questions[name]] for name in self.names]
            for condition in wanted
        }
        self.scores: dict[Condition, Scores] = {
            condition: np.array([answer.score for answer in answers]) for condition, answers in self.answers.items()
        }
        self.families = [answer.family for answer in self.answers[FULL]]
        self.groups = [answer.group for answer in self.answers[FULL]]


class _Judge:
    """Figures over some of the questions, all from the same draws."""

    def __init__(self, table: _Table, mask: NDArray[np.bool_], opponent: str, resamples: int, seed: int) -> None:
        self._scores = {condition: scores[mask] for condition, scores in table.scores.items()}
        groups = [group for group, inside in zip(table.groups, mask, strict=True) if inside]
        self._bootstrap = Bootstrap(groups, resamples, seed)
        self._opponent = opponent

    def figures(self, condition: Condition) -> Figures:
        scores = self._scores[condition]
        other = self._scores.get(Condition(self._opponent, condition.ratio))
        compared = other is not None and condition.method != self._opponent
        return Figures(
            questions=len(scores),
            accuracy=self._bootstrap.mean(scores),
            relative=self._bootstrap.relative(scores, self._scores[FULL]),
            against=self._bootstrap.difference(scores, other) if other is not None and compared else None,
        )


def _mean(values: Iterable[int | None]) -> float | None:
    known = _known(values)
    return statistics.fmean(known) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return statistics.median(known) if known else None


def _known(values: Iterable[float | None]) -> Sequence[float]:
    return [value for value in values if value is not None]


def _throughput(kept: Kept, condition: Condition) -> float | None:
    blocks = [block for block in kept.blocks if Condition(block.method, block.ratio) == condition]
    seconds = sum(block.seconds for block in blocks)
    return sum(block.questions for block in blocks) / seconds if seconds else None
