"""One budget for the images of a request: what each gets, and what stays as a chat goes on."""

from __future__ import annotations

import itertools
import random

import pytest

from sppruner_vllm.planning.sharing import TEXTURE_WEIGHT, Claim, shares, shares_of_both


def claim(tokens: int = 100, texture: float = 0.0, turn: int = 0, least: int = 2, most: int | None = None) -> Claim:
    return Claim(tokens, texture, turn, min(least, tokens), tokens if most is None else most)


def drawn(seed: int, turns: int) -> list[Claim]:
    """Images of any size and texture, some in each turn."""
    draw = random.Random(seed)
    return [
        claim(draw.randint(2, 2000), draw.random(), turn, least=draw.choice([2, 2, 50]))
        for turn in range(turns)
        for _ in range(draw.randint(1, 3))
    ]


def test_size_and_texture_weigh():
    assert shares([claim(100), claim(200), claim(100, 1.0)], 70) == [10, 20, int(10 * (1 + TEXTURE_WEIGHT))]


def test_of_a_video_weighs_what_its_frames_show_anew():
    still = Claim(400, 0.0, 0, 8, 400, new=0.25)
    assert shares_of_both([claim(100)], [still, claim(400)], 120) == ([20], [20, 80])


def test_videos_and_pictures_stand_in_the_turns_that_they_stand_in():
    """The price is that of the first turn, whatever it holds."""
    images, videos = [claim(100, turn=1)], [claim(100, turn=0)]
    assert shares_of_both(images, videos, 60) == ([30], [30])
    assert shares_of_both([], videos, 60) == ([], [60])


@pytest.mark.parametrize("seed", range(20))
def test_of_one_turn_the_whole_budget_is_given_and_each_stays_within_its_bounds(seed):
    claims = drawn(seed, 1)
    least, most = sum(one.least for one in claims), sum(one.most for one in claims)
    for total in {least, (least + most) // 2, most - 1, most}:
        parts = shares(claims, total)
        assert sum(parts) == total
        assert all(one.least <= part <= one.most for one, part in zip(claims, parts, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_of_several_turns_no_more_than_the_budget_is_given(seed):
    claims = drawn(seed, 5)
    least = sum(one.least for one in claims)
    for total in (least, least + 7, 3 * least, 10 * least):
        assert sum(shares(claims, total)) <= total


def test_what_fits_is_whole_and_what_can_never_fit_has_its_least():
    assert shares([claim(100), claim(16)], 116) == [100, 16]
    assert shares([claim(100, least=5), claim(16)], 3) == [5, 2]


@pytest.mark.parametrize("seed", range(20))
def test_no_share_grows_as_turns_are_added(seed):
    claims = drawn(seed, 12)
    turns = [[one for one in claims if one.turn <= last] for last in range(12)]
    several = [shares(grown, 600) for grown in turns]
    for before, now in itertools.pairwise(several):
        assert all(new <= old for old, new in zip(before, now, strict=False))


def test_shares_stay_but_for_a_few_turns_in_which_all_are_halved():
    first = [shares([claim(100, turn=turn) for turn in range(turns)], 80)[0] for turns in range(1, 11)]
    assert first == [80, 40, 20, 20, 10, 10, 10, 10, 5, 5]
