"""McNemar's exact test: whether one method answers more of the same questions than another.

Of a graded score (ANLS, VQA accuracy) it is the sign test of which questions went up and which down; where scores are 0
or 1 both are the same test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sppruner_vllm.evaluation.bootstrap import Scores


@dataclass(frozen=True, slots=True)
class Paired:
    """better, worse: questions whose score is above, below the other method's. p: two-sided, 1 when none differs."""

    better: int
    worse: int
    p: float


def mcnemar(scores: Scores, other: Scores) -> Paired:
    """Compare two methods question by question.

    Args:
        scores, other: (N,) scores of the same questions.
    """
    better, worse = int(np.sum(scores > other)), int(np.sum(scores < other))
    return Paired(better, worse, sign_test(better, worse))


def sign_test(better: int, worse: int) -> float:
    """Two-sided p of so uneven a split, were both outcomes equally likely."""
    number, fewer = better + worse, min(better, worse)
    if number == 0:
        return 1.0
    logs = [_log_choose(number, count) - number * math.log(2) for count in range(fewer + 1)]
    highest = max(logs)
    tail = math.exp(highest) * sum(math.exp(log - highest) for log in logs)
    return min(1.0, 2 * tail)


def _log_choose(number: int, count: int) -> float:
    return math.lgamma(number + 1) - math.lgamma(count + 1) - math.lgamma(number - count + 1)
