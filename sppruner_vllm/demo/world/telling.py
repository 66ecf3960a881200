"""A scene in words: what a language model that has never seen a picture can learn the world from.

Every thing that a question can ask about is told once, in one of several ways of saying it and in any order; where it
is, is told of most. What stands beside what is told of pairs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from .layout import Item, Layout

_PLACED: Final = 0.8
"""Share of the things that are told with their place."""
_CLEAR: Final = 16
"""Pixels around the picture's middle lines in which a thing has no place in one of its quarters."""


def tell(scene: Sequence[Layout], dice: random.Random) -> str:
    """One or two pictures in words, as a user might write them before a question."""
    if len(scene) == 1:
        return f"{_tell_one(scene[0], dice)}\n"
    first, second = (_tell_one(layout, dice) for layout in scene)
    return f"The first picture: {first}\nThe second picture: {second}\n"


def _tell_one(layout: Layout, dice: random.Random) -> str:
    told = [_tell_item(item, layout.size, dice) for item in layout.items if item.kind != "clutter"]
    told += [_tell_pair(layout.items[one], layout.items[two], side, dice) for one, two, side in layout.pairs]
    dice.shuffle(told)
    return " ".join(told) if told else "The picture shows nothing."


def _tell_item(item: Item, size: int, dice: random.Random) -> str:
    what = {
        "shape": (f"a {item.colour} {item.name}", f"a {item.name} that is {item.colour}"),
        "digit": (f"a handwritten digit {item.name}", f"the handwritten digit is {item.name}"),
        "number": (f"a printed number {item.name}", f"the printed number is {item.name}"),
        "sign": (f"a sign that says {item.name}", f"the sign says {item.name}"),
    }[item.kind]
    x, y = (part - size / 2 for part in item.centre)
    if min(abs(x), abs(y)) < _CLEAR or dice.random() > _PLACED:
        return f"There is {what[0]}." if dice.random() < 0.5 else f"The picture shows {what[0]}."
    place = f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
    said = dice.choice(what)
    return dice.choice((f"The {place} has {what[0]}.", f"There is {what[0]} {place}.", f"At the {place} {said}."))


def _tell_pair(one: Item, two: Item, side: str, dice: random.Random) -> str:
    said = f"the {two.name} is {side} the {one.name}."
    return dice.choice((f"There {said}", f"In the picture {said}"))
