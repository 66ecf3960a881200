"""Questions about scenes, by family, each with one right answer that follows from the layout.

Families ask for different parts of a picture: one named thing, what stands beside it, all things of a kind, fine
print, a place, or a difference between two pictures.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sppruner_vllm.demo.vocabulary import COLOURS, COUNTS, PLURALS, SHAPES

from .layout import Item, Layout

Family = Literal[
    "focus", "neighbour", "count", "presence", "reading", "place", "compare", "two hops", "page", "table", "chart"
]

ONE_PICTURE: Final[tuple[Family, ...]] = ("focus", "neighbour", "count", "presence", "reading", "place")
FAMILIES: Final[tuple[Family, ...]] = (*ONE_PICTURE, "compare")

_CLEAR: Final = 16
"""Pixels that a thing's centre keeps from the picture's middle lines to be asked for its place."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer, in the words that the model is to use."""

    family: Family
    text: str
    answer: str


def askable(layout: Layout) -> dict[Family, list[Asked]]:
    """All questions that one picture can answer, by family; presence holds as many with yes as with no."""
    shapes = [item for item in layout.items if item.kind == "shape"]
    often = Counter(item.name for item in shapes)
    unique = [item for item in shapes if often[item.name] == 1]
    return {
        "focus": _focus(shapes, unique, layout.seed),
        "neighbour": _neighbours(layout, often),
        "count": _counts(often, layout.seed),
        "presence": _presence(shapes, layout.seed),
        "reading": _reading(layout),
        "place": _places(layout, unique),
    }


def askable_by_two_hops(layout: Layout) -> list[Asked]:
    """Questions that name one thing and ask about the one beside it."""
    shapes = [item for item in layout.items if item.kind == "shape"]
    names, colours = Counter(item.name for item in shapes), Counter(item.colour for item in shapes)
    beside = [(layout.items[anchor], layout.items[other], side) for anchor, other, side in layout.pairs]
    to_colour = [
        Asked("two hops", f"What colour is the shape {side} the {anchor.name}?", other.colour)
        for anchor, other, side in beside
        if names[anchor.name] == names[other.name] == 1
    ]
    from_colour = [
        Asked("two hops", f"Which shape is {side} the {anchor.colour} shape?", other.name)
        for anchor, other, side in beside
        if names[anchor.name] == colours[anchor.colour] == 1
    ]
    return to_colour + from_colour


def askable_of_two(first: Layout, second: Layout) -> list[Asked]:
    """Questions that take both pictures."""
    here, there = ({item.name for item in layout.items if item.kind == "shape"} for layout in (first, second))
    which = [
        Asked("compare", f"Which picture has a {name}?", "first" if name in here else "second")
        for name in SHAPES
        if (name in here) != (name in there)
    ]
    both = [
        Asked("compare", f"Do both pictures have a {name}?", "yes" if name in here and name in there else "no")
        for name in SHAPES
        if name in here or name in there
    ]
    return which + both


def choose(pool: dict[Family, list[Asked]], number: int, dice: random.Random) -> list[Asked]:
    """`number` questions, or fewer where the picture has no more, the families taking turns."""
    piles = [dice.sample(asked, len(asked)) for asked in pool.values() if asked]
    dice.shuffle(piles)
    chosen: list[Asked] = []
    while piles and len(chosen) < number:
        chosen += [pile.pop() for pile in piles]
        piles = [pile for pile in piles if pile]
    return chosen[:number]


def _focus(shapes: Sequence[Item], unique: Sequence[Item], seed: int) -> list[Asked]:
    """From shape to colour and from colour to shape, about as many of each."""
    colours = Counter(item.colour for item in shapes)
    of_colour = [
        Asked("focus", f"Which shape is {item.colour}?", item.name) for item in shapes if colours[item.colour] == 1
    ]
    of_shape = [Asked("focus", f"What colour is the {item.name}?", item.colour) for item in unique]
    dice = random.Random(seed)  # noqa: S311 (a game of dice, not a secret)
    return of_colour + dice.sample(of_shape, min(len(of_shape), max(1, len(of_colour))))


def _neighbours(layout: Layout, often: Counter[str]) -> list[Asked]:
    named = ((layout.items[anchor], layout.items[other], side) for anchor, other, side in layout.pairs)
    return [
        Asked("neighbour", f"Which shape is {side} the {anchor.name}?", other.name)
        for anchor, other, side in named
        if often[anchor.name] == 1
    ]


def _counts(often: Counter[str], seed: int) -> list[Asked]:
    """Every shape that occurs several times, and one that occurs once: else "one" would be a safe guess."""
    dice = random.Random(seed)  # noqa: S311 (a game of dice, not a secret)
    several = [name for name, number in often.items() if 1 < number < len(COUNTS)]
    single = dice.sample([name for name, number in often.items() if number == 1], 1 if 1 in often.values() else 0)
    return [
        Asked("count", f"How many {PLURALS[SHAPES.index(name)]} are there?", COUNTS[often[name]])
        for name in several + single
    ]


def _presence(shapes: Sequence[Item], seed: int) -> list[Asked]:
    """As many coloured shapes that are there as are not; the absent ones' colour and shape are both in the picture."""
    there = {(item.colour, item.name) for item in shapes}
    absent = [
        (colour, name)
        for colour in COLOURS
        for name in SHAPES
        if (colour, name) not in there
        and any(colour == known for known, _ in there)
        and any(name == known for _, known in there)
    ]
    number = min(len(there), len(absent))
    dice = random.Random(seed)  # noqa: S311 (a game of dice, not a secret)
    yes, no = dice.sample(sorted(there), number), dice.sample(absent, number)
    return [
        Asked("presence", f"Is there a {colour} {name}?", answer)
        for pairs, answer in ((yes, "yes"), (no, "no"))
        for colour, name in pairs
    ]


def _reading(layout: Layout) -> list[Asked]:
    texts = {"sign": "What does the sign say?", "number": "What is the printed number?"}
    texts["digit"] = "What is the handwritten digit?"
    return [Asked("reading", texts[item.kind], item.name) for item in layout.items if item.kind in texts]


def _places(layout: Layout, unique: Sequence[Item]) -> list[Asked]:
    asked = []
    for item in unique:
        x, y = (part - layout.size / 2 for part in item.centre)
        if min(abs(x), abs(y)) >= _CLEAR:
            place = f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
            asked.append(Asked("place", f"Where is the {item.name}?", place))
    return asked
