"""From outcomes to figures: every set under every condition, paired comparisons, the mean over sets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppruner_vllm.evaluation.bootstrap import Bootstrap, Interval, Scores, interval_of
from sppruner_vllm.evaluation.conditions import FULL, Condition

from .boxes import Boxed, Unit, best_unit
from .outcomes import Outcome
from .paired import Paired, mcnemar
from .sets import StandardSet

Told = Mapping[Condition, Sequence[Outcome]]
"""What one set came to, under every condition."""


@dataclass(frozen=True, slots=True)
class Versus:
    """One method against another at the same keep ratio: mean difference of scores, and McNemar's test."""

    difference: Interval
    test: Paired


@dataclass(frozen=True, slots=True)
class SetFigures:
    """One set. questions: asked under every condition. refused: left out, since the server refused one of them under
    some condition. boxes: the unit of the model's boxes, where the set is about boxes. accuracy, relative: mean score,
    and as a share of the full picture's. tokens: visual tokens per question, mean.
    """

    name: str
    metric: str
    questions: int
    refused: int
    boxes: Unit | None
    accuracy: Mapping[Condition, Interval]
    relative: Mapping[Condition, Interval]
    tokens: Mapping[Condition, float | None]
    versus: Mapping[tuple[Condition, str], Versus]


@dataclass(frozen=True, slots=True)
class Figures:
    """All sets. mean: of the sets' relative scores, each set counting alike; sets of which the full picture answers
    nothing do not count and are named in `unanswered`. pooled: McNemar's test over the questions of all sets.
    """

    conditions: tuple[Condition, ...]
    sets: tuple[SetFigures, ...]
    mean: Mapping[Condition, Interval]
    pooled: Mapping[tuple[Condition, str], Paired]
    unanswered: tuple[str, ...]
    resamples: int


class NothingCompared(RuntimeError):
    """No set has been asked under every condition."""


def figures(
    told: Mapping[StandardSet, Told], conditions: Sequence[Condition], opponents: Sequence[str], resamples: int
) -> Figures:
    """The figures of a run.

    Args:
        told: outcomes by set.
        conditions: FULL first.
        opponents: methods that every other is compared with.
        resamples: of the bootstrap, at least 1000.

    Raises:
        NothingCompared: there is no set to report.
    """
    tables = [_Table(standard, one, conditions, resamples, seed) for seed, (standard, one) in enumerate(told.items())]
    tables = [table for table in tables if table.units]
    if not tables:
        raise NothingCompared("no set has been asked under every condition yet")
    pairs = [
        (condition, opponent)
        for condition in conditions
        for opponent in opponents
        if condition != FULL and condition.method != opponent and Condition(opponent, condition.ratio) in conditions
    ]
    counted = [table for table in tables if table.scores[FULL].sum() > 0]
    return Figures(
        conditions=tuple(conditions),
        sets=tuple(table.figures(pairs) for table in tables),
        mean={condition: _mean(counted, condition) for condition in conditions},
        pooled={(one, other): _pooled(tables, one, Condition(other, one.ratio)) for one, other in pairs},
        unanswered=tuple(table.standard.name for table in tables if table not in counted),
        resamples=resamples,
    )


class _Table:
    """Scores of one set, all conditions in the same order of questions."""

    def __init__(
        self, standard: StandardSet, told: Told, conditions: Sequence[Condition], resamples: int, seed: int
    ) -> None:
        self.standard = standard
        by_unit = {condition: {(one.unit, one.content): one for one in told[condition]} for condition in conditions}
        asked = [name for name in by_unit[FULL] if all(name in known for known in by_unit.values())]
        self.units = [name for name in asked if not any(known[name].refused for known in by_unit.values())]
        self.refused = len(asked) - len(self.units)
        if not self.units:
            return
        self.outcomes = {condition: [known[name] for name in self.units] for condition, known in by_unit.items()}
        self.boxes: Unit | None = None
        if standard.score is None:
            self.boxes = best_unit([_boxed(one, FULL) for one in self.outcomes[FULL]])
        self.scores: dict[Condition, Scores] = {
            condition: np.array([self._score(one, condition) for one in outcomes])
            for condition, outcomes in self.outcomes.items()
        }
        self.bootstrap = Bootstrap([one.picture for one in self.outcomes[FULL]], resamples, seed)

    def _score(self, outcome: Outcome, condition: Condition) -> float:
        if self.boxes is not None:
            return _boxed(outcome, condition).found(self.boxes)
        return outcome.score or 0.0

    def figures(self, pairs: Sequence[tuple[Condition, str]]) -> SetFigures:
        full = self.scores[FULL]
        return SetFigures(
            name=self.standard.name,
            metric=self.standard.metric,
            questions=len(self.units),
            refused=self.refused,
            boxes=self.boxes,
            accuracy={condition: self.bootstrap.mean(scores) for condition, scores in self.scores.items()},
            relative={condition: self.bootstrap.relative(scores, full) for condition, scores in self.scores.items()},
            tokens={
                condition: _average(one.retained for one in outcomes) for condition, outcomes in self.outcomes.items()
            },
            versus={
                (one, other): self._versus(self.scores[one], self.scores[Condition(other, one.ratio)])
                for one, other in pairs
            },
        )

    def _versus(self, scores: Scores, other: Scores) -> Versus:
        return Versus(self.bootstrap.difference(scores, other), mcnemar(scores, other))


def _boxed(outcome: Outcome, condition: Condition) -> Boxed:
    return Boxed(
        said=outcome.said or (0, 0, 0, 0),
        right=outcome.right or (0, 0, 0, 0),
        width=outcome.width or 1,
        height=outcome.height or 1,
        original=outcome.original or 1,
        retained=outcome.retained or 1,
        smaller=condition.method == "downscale",
    )


def _mean(tables: Sequence[_Table], condition: Condition) -> Interval:
    """Mean of the sets' relative scores: the draws of the sets are independent of one another."""
    if not tables:
        return Interval(None, None, None)
    value = statistics.fmean(float(table.scores[condition].sum() / table.scores[FULL].sum()) for table in tables)
    draws: list[NDArray[np.float64]] = [
        table.bootstrap.ratio_draws(table.scores[condition], table.scores[FULL]) for table in tables
    ]
    return interval_of(value, np.mean(draws, axis=0))


def _pooled(tables: Sequence[_Table], one: Condition, other: Condition) -> Paired:
    return mcnemar(
        np.concatenate([table.scores[one] for table in tables]),
        np.concatenate([table.scores[other] for table in tables]),
    )


def _average(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
