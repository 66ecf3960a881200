"""Walks over the grid: complete, and from neighbour to neighbour."""

from __future__ import annotations

import itertools

import pytest

from sppruner_vllm.reduction.focus_context.curves import curve

SIZES = [(height, width) for height in range(1, 22) for width in range(1, 22)] + [
    (36, 36),
    (27, 48),
    (64, 33),
    (1, 200),
]


def steps(name: str, height: int, width: int) -> list[tuple[int, int]]:
    """Absolute row and column moves along a curve."""
    walk = curve(name, height, width).tolist()
    return [(abs(a // width - b // width), abs(a % width - b % width)) for a, b in itertools.pairwise(walk)]


@pytest.mark.parametrize("name", ["hilbert", "boustrophedon", "raster"])
def test_every_token_is_visited_once(name: str):
    for height, width in SIZES:
        assert sorted(curve(name, height, width).tolist()) == list(range(height * width))


def test_hilbert_steps_go_to_a_neighbour_but_for_one_diagonal_that_parity_forces():
    for height, width in SIZES:
        odd = [step for step in steps("hilbert", height, width) if sum(step) != 1]
        forced = max(height, width) % 2 == 1 and min(height, width) % 2 == 0
        assert odd in ([], [(1, 1)]), (height, width)
        assert forced or not odd, (height, width)


def test_boustrophedon_steps_go_to_a_neighbour():
    assert all(sum(step) == 1 for height, width in SIZES for step in steps("boustrophedon", height, width))


def test_a_run_on_the_hilbert_curve_is_a_patch_and_not_a_line():
    walk = curve("hilbert", 32, 32).tolist()
    for start in range(0, 1024, 64):
        run = walk[start : start + 64]
        rows, columns = [token // 32 for token in run], [token % 32 for token in run]
        assert max(rows) - min(rows) < 16
        assert max(columns) - min(columns) < 16


def test_a_curve_is_computed_once_per_shape():
    assert curve("hilbert", 12, 13) is curve("hilbert", 12, 13)
