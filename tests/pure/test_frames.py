"""How a video's budget is split among its frames."""

from __future__ import annotations

import random

import pytest

from sppruner_vllm.planning.frames import split


@pytest.mark.parametrize("seed", range(200))
def test_a_split_is_exact_and_within_its_bounds(seed: int) -> None:
    dice = random.Random(seed)
    frames, most = dice.randint(1, 64), dice.randint(1, 300)
    floor = dice.randint(1, most)
    budget = dice.randint(floor * frames, most * frames)
    weights = [dice.choice([0.0, dice.random(), 1e-12, 1.0]) for _ in range(frames)]
    kept = split(budget, weights, floor, most)
    assert sum(kept) == budget
    assert all(floor <= tokens <= most for tokens in kept)


@pytest.mark.parametrize("seed", range(50))
def test_a_frame_that_changes_more_never_gets_less(seed: int) -> None:
    dice = random.Random(seed)
    weights = [dice.random() for _ in range(16)]
    kept = split(16 * 20, weights, 5, 60)
    by_weight = [tokens for _, tokens in sorted(zip(weights, kept, strict=True))]
    assert by_weight == sorted(by_weight)


def test_frames_that_change_alike_share_evenly_the_earlier_ones_first() -> None:
    assert split(11, [1.0] * 4, 1, 8) == [3, 3, 3, 2]
    assert split(11, [0.0] * 4, 1, 8) == [3, 3, 3, 2]


def test_a_frame_that_repeats_its_predecessor_yields_its_budget_down_to_the_floor() -> None:
    assert split(40, [1.0, 0.0, 0.0, 1.0], 2, 40) == [18, 2, 2, 18]


def test_what_a_frame_has_no_room_for_goes_to_the_others() -> None:
    assert split(40, [1.0, 0.0, 0.0, 0.5], 2, 20) == [20, 2, 2, 16]
    assert split(44, [1.0, 0.0, 0.0, 0.5], 2, 20) == [20, 2, 2, 20]
    assert split(50, [1.0, 0.0, 0.0, 0.5], 2, 20) == [20, 5, 5, 20]


def test_a_split_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        split(7, [1.0] * 4, 2, 8)
