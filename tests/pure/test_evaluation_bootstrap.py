"""Intervals with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from sppruner_vllm.evaluation.bootstrap import Bootstrap, Interval


def alone(count):
    """Every question in a group of its own."""
    return [str(index) for index in range(count)]


def test_an_interval_of_single_questions_is_the_binomial_one():
    scores = np.array([1.0] * 160 + [0.0] * 40)
    found = Bootstrap(alone(200), 4000).mean(scores)
    spread = 1.96 * (0.8 * 0.2 / 200) ** 0.5
    assert found.value == 0.8
    assert (found.low, found.high) == (pytest.approx(0.8 - spread, abs=0.006), pytest.approx(0.8 + spread, abs=0.006))


def test_questions_about_one_picture_stand_and_fall_together():
    scores = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 20)
    pictures = [str(index // 4) for index in range(160)]
    apart, together = Bootstrap(alone(160)).mean(scores), Bootstrap(pictures).mean(scores)
    assert together.high - together.low == pytest.approx(2 * (apart.high - apart.low), rel=0.15)


def test_a_difference_is_paired():
    luck = np.random.default_rng(0).integers(0, 2, 300).astype(float)
    found = Bootstrap(alone(300)).difference(luck, luck)
    assert found == Interval(0.0, 0.0, 0.0)


def test_relative_accuracy_is_a_share_of_the_references():
    reference = np.array([1.0] * 80 + [0.0] * 20)
    found = Bootstrap(alone(100)).relative(np.array([1.0] * 60 + [0.0] * 40), reference)
    assert found.value == 0.75
    assert 0.6 < found.low < 0.75 < found.high < 0.9


def test_a_reference_without_a_right_answer_gives_no_share():
    assert Bootstrap(alone(9)).relative(np.ones(9), np.zeros(9)) == Interval(None, None, None)


def test_a_single_picture_has_no_interval():
    assert Bootstrap(["a", "a", "a"]).mean(np.array([1.0, 1.0, 0.0])) == Interval(2 / 3, None, None)


def test_the_same_seed_gives_the_same_interval():
    scores = np.random.default_rng(1).random(50)
    assert Bootstrap(alone(50), seed=7).mean(scores) == Bootstrap(alone(50), seed=7).mean(scores)
    assert Bootstrap(alone(50), seed=7).mean(scores) != Bootstrap(alone(50), seed=8).mean(scores)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(0.1, 0.01, 0.2), "win"),
        (Interval(0.1, 0.0, 0.2), "tie"),
        (Interval(-0.1, -0.2, -0.01), "loss"),
        (Interval(0.5, None, None), "tie"),
    ],
)
def test_a_win_lies_above_nothing_and_a_loss_below(interval, verdict):
    assert interval.verdict == verdict


def test_too_few_resamples_are_refused():
    with pytest.raises(ValueError, match="1000"):
        Bootstrap(alone(3), 999)
