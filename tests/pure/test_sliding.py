"""The default ratio under load: its levels, its hysteresis, its bounds."""

from __future__ import annotations

import random

import pytest

from sppruner_vllm.planning.sliding import LEVELS, WHOLE, Slide

SLIDE = Slide(top=1.0, floor=0.2, begins=4, ends=36)


def levels(waiting: list[int], level: int = WHOLE) -> list[int]:
    found = []
    for count in waiting:
        level = SLIDE.next_level(level, count)
        found.append(level)
    return found


def test_a_growing_queue_slides_to_the_floor_and_stays_there() -> None:
    assert levels([0, 4, 7, 8, 12, 35, 36, 500]) == [0, 0, 0, 1, 2, 7, 8, 8]
    assert [SLIDE.ratio(level) for level in (0, 1, 4, 8)] == [1.0, 0.9, 0.6, 0.2]


def test_a_shrinking_queue_goes_back_one_level_later() -> None:
    assert levels([36, 35, 32, 31, 28, 27, 8, 5, 4]) == [8, 8, 8, 7, 7, 6, 2, 1, 0]


@pytest.mark.parametrize("border", [8, 12, 16, 20, 24, 28, 32, 36])
def test_a_queue_that_wavers_round_a_border_changes_the_level_once(border: int) -> None:
    assert len(set(levels([border, border - 1] * 20))) == 1


def test_no_queue_gives_the_operators_own_default_back_whatever_was_before() -> None:
    assert all(SLIDE.next_level(level, SLIDE.begins) == WHOLE for level in range(LEVELS + 1))


def test_any_course_stays_between_floor_and_default() -> None:
    dice = random.Random(7)
    level = WHOLE
    slide = Slide(top=0.7, floor=0.333, begins=0.5, ends=2.5)
    for _ in range(2000):
        level = slide.next_level(level, dice.randrange(6))
        assert WHOLE <= level <= LEVELS
        assert 0.333 <= slide.ratio(level) <= 0.7


def test_a_floor_at_the_default_changes_nothing() -> None:
    slide = Slide(top=0.5, floor=0.5, begins=0, ends=1)
    assert {slide.ratio(level) for level in range(LEVELS + 1)} == {0.5}
