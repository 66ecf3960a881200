"""A harder exam: small print, large pictures with small things, second turns, and questions of two hops.

Its photographs and its handwritten digits are shown by no training. Every group asks one question of each family.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image

from .layout import Layout, draw_layout
from .questions import Asked, askable, askable_by_two_hops, choose
from .scene import render
from .sheets import KINDS, draw_sheet

HardFamily = Literal["page", "table", "chart", "two hops", "second turn", "second look", "large 672", "large 1008"]
HARD_FAMILIES: Final[tuple[HardFamily, ...]] = (
    *KINDS,
    "two hops",
    "second turn",
    "second look",
    "large 672",
    "large 1008",
)

SIZE: Final = 448
LARGE: Final[dict[HardFamily, int]] = {"large 672": 672, "large 1008": 1008}
_CROWD: Final = (1.5, 3.5)
"""As the exam. On a larger picture what is asked about stays as many things, and as small; clutter grows."""
_COMMON: Final = frozenset(
    [
        "what",
        "which",
        "where",
        "is",
        "the",
        "of",
        "does",
        "say",
        "colour",
        "shape",
        "right",
        "below",
        "top",
        "bottom",
        "left",
    ]
)
_DRAWS: Final = 200
"""Layouts tried until one has what a family asks about."""


@dataclass(frozen=True, slots=True)
class HardQuestion:
    """A question about one picture.

    asked: the question. family: what makes it hard. layout: the picture. before: what was asked and answered in the
    turns before it, oldest first; the picture stands in the first turn. group: equal for questions drawn together.
    chosen_for: the question that the picture's tokens are chosen for in place of this one.
    """

    asked: Asked
    family: HardFamily
    layout: Layout
    before: tuple[Asked, ...]
    group: int
    chosen_for: Asked | None = None

    def picture(self) -> Image.Image:
        """The picture, drawn anew at every call."""
        return render(self.layout, held_out=True, other_photos=True)


def hard_exam(seed: int, groups: int) -> Iterator[HardQuestion]:
    """One question of each family for each of `groups`; families in the order of HARD_FAMILIES.

    Args:
        seed: same seed, same questions; seeds of the training cannot be reached from here.
    """
    for group in range(groups):
        for family in HARD_FAMILIES:
            dice = random.Random(f"hard:{seed}:{group}:{family}")  # noqa: S311 (a game of dice, not a secret)
            layout, asked, before = _draw(family, dice)
            if family == "second look":
                yield HardQuestion(asked, family, layout, (), group, chosen_for=before[0])
            else:
                yield HardQuestion(asked, family, layout, before, group)


def _draw(family: HardFamily, dice: random.Random) -> tuple[Layout, Asked, tuple[Asked, ...]]:
    """A picture, a question, and what was asked before it."""
    for kind in KINDS:
        if kind == family:
            sheet = draw_sheet(kind, dice.randrange(2**62), SIZE)
            # What colour a named bar has is for training: one glance at one bar answers it.
            return sheet.layout, dice.choice([one for one in sheet.asked if one.text.startswith("Which")]), ()
    for _ in range(_DRAWS):
        layout = draw_layout(dice.randrange(2**62), LARGE.get(family, SIZE), dice.uniform(*_CROWD))
        if family == "two hops":
            turns = tuple(dice.sample(pool, 1)) if (pool := askable_by_two_hops(layout)) else ()
        elif family in ("second turn", "second look"):
            turns = _two_turns(layout, dice)
        else:
            turns = tuple(choose(askable(layout), 1, dice))
        if turns:
            return layout, turns[-1], turns[:-1]
    raise RuntimeError(f"no scene of {_DRAWS} answers a question of the family {family}")


def _two_turns(layout: Layout, dice: random.Random) -> tuple[Asked, ...]:
    """Two questions of different families that have no thing in common, or none."""
    pool = askable(layout)
    narrow = [asked for family in ("focus", "place", "neighbour", "reading") for asked in pool.get(family, ())]
    if not narrow:
        return ()
    first = dice.choice(narrow)
    second = [asked for asked in narrow if asked.family != first.family and not _words(first) & _words(asked)]
    return (first, dice.choice(second)) if second else ()


def _words(asked: Asked) -> set[str]:
    """What a question and its answer name, common words left out."""
    return set(f"{asked.text} {asked.answer}".lower().replace("?", "").split()) - _COMMON
