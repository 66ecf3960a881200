"""Scenes with tokens missing, as after a reduction: questions are then about what is left.

Without such lessons the model learns to count by comparing with the number of other tokens, which a reduction changes.
What is cut is drawn at random, by no method of reduction, so that no method is at home here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sppruner_vllm.demo.world.content import centre_token, covered
from sppruner_vllm.demo.world.layout import Layout


@dataclass(frozen=True, slots=True)
class Cut:
    """left: the layouts of what is still there. absent: (pictures, grid, grid) bool, tokens that are not."""

    left: tuple[Layout, ...]
    absent: NDArray[np.bool_]


def whole(scene: Sequence[Layout], grid: int) -> Cut:
    """Nothing is cut."""
    return Cut(tuple(scene), np.zeros((len(scene), grid, grid), dtype=np.bool_))


def cut(scene: Sequence[Layout], grid: int, dice: random.Random) -> Cut:
    """Random shares of a scene's background, of its things, and of the tokens of the things that stay.

    A thing is cut whole, and only where it shares no token with another; of one that stays, the centre stays. Half of
    the cuts leave next to no background, as strong reductions do.
    """
    background = dice.uniform(dice.choice((0.0, 0.8)), 1)
    things, parts = dice.uniform(0, 0.9), dice.uniform(0, 0.6)
    done = [_cut_one(layout, grid, background, things, parts, dice) for layout in scene]
    return Cut(tuple(layout for layout, _ in done), np.stack([absent for _, absent in done]))


def _cut_one(
    layout: Layout, grid: int, background: float, things: float, parts: float, dice: random.Random
) -> tuple[Layout, NDArray[np.bool_]]:
    side = layout.size / grid
    areas = [covered(item, grid, side) for item in layout.items]
    crowd = np.sum(areas, axis=0)
    draws = np.random.default_rng(dice.randrange(2**32)).random((grid, grid))
    absent: NDArray[np.bool_] = np.where(crowd > 0, draws < parts, draws < background)
    stays: dict[int, int] = {}
    for index, (item, area) in enumerate(zip(layout.items, areas, strict=True)):
        if crowd[area].max(initial=0) == 1 and dice.random() < things:
            absent |= area
            continue
        stays[index] = len(stays)
        absent[centre_token(item, side)] = False
    pairs = tuple((stays[one], stays[two], where) for one, two, where in layout.pairs if {one, two} <= stays.keys())
    return replace(layout, items=tuple(layout.items[index] for index in stays), pairs=pairs), absent
