"""Paired bootstrap: how far a figure would move with other pictures of the same kind.

Groups of questions are drawn, not single questions: those about one picture stand or fall together. Every figure is
taken over the same draws, so that differences between methods are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Verdict = Literal["win", "tie", "loss"]

CONFIDENCE: Final = 0.95
DEFAULT_RESAMPLES: Final = 2000
FEWEST_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval; low and high are None where there is none (a single group, or nothing to
    divide by), and so is the value in the latter case.
    """

    value: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> Verdict:
        """Of a difference: a win lies above 0, a loss below, anything else is a tie."""
        if self.low is not None and self.low > 0:
            return "win"
        return "loss" if self.high is not None and self.high < 0 else "tie"

    @property
    def points(self) -> str:
        """Of a difference of shares: percentage points with a sign, and the interval where there is one."""
        value = f"{100 * (self.value or 0):+.1f}"
        if self.low is None or self.high is None:
            return value
        return f"{value} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


class Bootstrap:
    """The draws for one set of questions."""

    def __init__(self, groups: Sequence[str], resamples: int = DEFAULT_RESAMPLES, seed: int = 0) -> None:
        """Draw.

        Args:
            groups: per question, the group that is drawn as one.
            resamples: how often to draw, at least 1000.
            seed: same seed, same draws.

        Raises:
            ValueError: too few resamples, or no question.
        """
        if resamples < FEWEST_RESAMPLES:
            raise ValueError(f"at least {FEWEST_RESAMPLES} resamples are needed, got {resamples}")
        if not groups:
            raise ValueError("there is no question to draw")
        _, self._member = np.unique(np.array(groups), return_inverse=True)
        self._count = int(self._member.max()) + 1
        draws = np.random.default_rng(seed).multinomial(self._count, np.full(self._count, 1 / self._count), resamples)
        self._draws = draws.astype(np.float64)

    def mean(self, scores: Scores) -> Interval:
        """The mean score."""
        return self._ratio(scores, np.ones_like(scores))

    def relative(self, scores: Scores, reference: Scores) -> Interval:
        """The mean score as a share of the reference's."""
        return self._ratio(scores, reference)

    def difference(self, scores: Scores, other: Scores) -> Interval:
        """The mean score minus the other's, question by question."""
        return self._ratio(scores - other, np.ones_like(scores))

    def ratio_draws(self, above: Scores, below: Scores) -> NDArray[np.float64]:
        """(resamples,) sum of `above` over that of `below` in every draw; NaN where the latter is 0."""
        drawn_above, drawn_below = (self._draws @ self._by_group(scores) for scores in (above, below))
        usable = drawn_below != 0  # a draw may hold none of the questions that the reference got right
        return np.divide(drawn_above, drawn_below, out=np.full_like(drawn_above, np.nan), where=usable)

    def _ratio(self, above: Scores, below: Scores) -> Interval:
        total = float(below.sum())
        if total == 0:
            return Interval(None, None, None)
        value = float(above.sum()) / total
        if self._count < 2:
            return Interval(value, None, None)
        return interval_of(value, self.ratio_draws(above, below))

    def _by_group(self, scores: Scores) -> Scores:
        return np.bincount(self._member, weights=scores, minlength=self._count).astype(np.float64)


def interval_of(value: float, draws: NDArray[np.float64]) -> Interval:
    """A figure with the interval of its draws; NaN among them do not count."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
