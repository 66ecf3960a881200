"""Where things stand in a scene, before anything is drawn.

A layout is drawn from a seed alone. It holds what every question needs: shapes that occur once, one that occurs
several times, one that is absent, pairs of neighbours, things to read, and clutter that means nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from sppruner_vllm.demo.vocabulary import CLUTTER, COLOURS, DIGITS, SHAPES, SIGN_WORDS

TOKEN: Final = 28
"""Pixels along one side of a visual token."""

Kind = Literal["shape", "digit", "number", "sign", "clutter", "word", "cell", "bar"]
"""The last three stand on paper: a printed word, a printed number and a bar of a chart."""
Side = Literal["right of", "below"]
Box = tuple[int, int, int, int]

_TRIES: Final = 40
_GAP: Final = 6
_APART: Final = 44
"""Pixels around a pair of neighbours that no third shape enters, so that "right of" has one answer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a scene.

    name: the shape, digit, two-digit number, word or pattern; of a bar, the word below it. colour: a colour's name,
    for shapes, bars and handwritten digits. box: left, top, width, height in pixels. seed: what its drawing varies by;
    what is printed on one paper has one seed.
    """

    kind: Kind
    name: str
    colour: str
    box: Box
    seed: int

    @property
    def centre(self) -> tuple[float, float]:
        left, top, width, height = self.box
        return left + width / 2, top + height / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """A scene to be.

    size: pixels along its side, a multiple of TOKEN. items: shapes first. pairs: (anchor, companion, side), indices
    into items; the companion is on that side of the anchor. seed: what the background varies by. paper: where a sheet
    of paper lies under all items; None for no paper.
    """

    size: int
    items: tuple[Item, ...]
    pairs: tuple[tuple[int, int, Side], ...]
    seed: int
    paper: Box | None = None


def draw_layout(seed: int, size: int, crowd: float = 1.0) -> Layout:
    """The layout of a seed.

    Args:
        seed: same seed, same layout.
        size: pixels along the side.
        crowd: factor on the number of things; 1 puts some 20 into 448 x 448 pixels.
    """
    return _Draft(random.Random(seed), size, crowd).finish(seed)  # noqa: S311 (a game of dice, not a secret)


def draw_practice(seed: int, size: int) -> Layout:
    """A layout crammed with things of all kinds, for practice in seeing; not every question about it has one answer."""
    return _Draft(random.Random(seed), size, 1.0).cram(seed)  # noqa: S311 (a game of dice, not a secret)


class _Draft:
    """A layout being filled."""

    def __init__(self, dice: random.Random, size: int, crowd: float) -> None:
        self.dice, self.size = dice, size
        self.share = crowd * (size / 448) ** 2
        self.items: list[Item] = []
        self.pairs: list[tuple[int, int, Side]] = []
        self.forbidden: list[Box] = []

    def finish(self, seed: int) -> Layout:
        shapes = self._shape_names()
        for anchor in [name for name in shapes if shapes.count(name) == 1][: 2 if self.share > 0.5 else 1]:
            others = [name for name in shapes if name != anchor]
            if anchor not in shapes or not others:
                continue
            companion = self.dice.choice(others)
            if self._pair(anchor, companion):
                shapes.remove(anchor)
                shapes.remove(companion)
        for name in shapes:
            self._place("shape", name, *self._square(20, 52))
        for _ in range(self._count(1.6)):
            self._place("digit", self.dice.choice(DIGITS), *self._square(30, 48)) if not self._has("digit") else None
        if self.dice.random() < 0.3 + 0.7 * self.share:
            self._text("sign", self.dice.choice(SIGN_WORDS))
        if self.dice.random() < 0.3 + 0.7 * self.share:
            self._text("number", str(self.dice.randrange(10, 100)))
        for _ in range(self._count(self.dice.uniform(5, 9))):
            self._clutter()
        return Layout(self.size, tuple(self.items), tuple(self.pairs), seed)

    def cram(self, seed: int) -> Layout:
        for _ in range(int(72 * self.share)):
            kind: Kind = self.dice.choice(("shape", "digit", "number", "sign", "clutter"))
            if kind == "shape":
                self._place("shape", self.dice.choice(SHAPES), *self._square(20, 52))
            elif kind == "digit":
                self._place("digit", self.dice.choice(DIGITS), *self._square(30, 48))
            elif kind == "clutter":
                self._clutter()
            else:
                self._text(kind, self.dice.choice(SIGN_WORDS) if kind == "sign" else str(self.dice.randrange(10, 100)))
        return Layout(self.size, tuple(self.items), (), seed)

    def _clutter(self) -> None:
        self._place(
            "clutter", CLUTTER[self.dice.randrange(len(CLUTTER))], self.dice.randint(24, 76), self.dice.randint(24, 76)
        )

    def _shape_names(self) -> list[str]:
        """One shape several times, in a crowd two of them; some once, at least one never."""
        many, _, *once = self.dice.sample(SHAPES, len(SHAPES))
        total = max(3, self._count(self.dice.uniform(6.5, 9.5)))
        copies = self.dice.randint(2, 4) if self.share > 0.5 else self.dice.randint(1, 3)
        names = once[: max(2, min(len(once), total - copies))] + [many] * copies
        names += [names[0]] * (self.dice.randint(1, 2) if self.share > 1.1 else 0)
        self.dice.shuffle(names)
        return names

    def _count(self, mean: float) -> int:
        """A whole number near `mean` times the scene's share, rounded at random."""
        return int(mean * self.share + self.dice.random())

    def _has(self, kind: Kind) -> bool:
        return any(item.kind == kind for item in self.items)

    def _square(self, smallest: int, largest: int) -> tuple[int, int]:
        side = self.dice.randint(smallest, largest)
        return side, side

    def _text(self, kind: Kind, name: str) -> None:
        height = self.dice.randint(22, 44)
        self._place(kind, name, int(height * (0.72 * len(name) + 0.3)), height)

    def _place(self, kind: Kind, name: str, width: int, height: int) -> None:
        """Put a thing where it touches nothing; leave it out where no room is found."""
        for _ in range(_TRIES):
            if width > self.size - 4 or height > self.size - 4:
                return
            box = (
                self.dice.randint(2, self.size - width - 2),
                self.dice.randint(2, self.size - height - 2),
                width,
                height,
            )
            lonely = kind != "shape" or not any(_meet(box, zone, 0) for zone in self.forbidden)
            if lonely and self._free(box):
                self._add(kind, name, box)
                return

    def _pair(self, anchor: str, companion: str) -> bool:
        """Put two shapes side by side, with no third one near; whether room was found."""
        side: Side = self.dice.choice(("right of", "below"))
        first, second = self.dice.randint(22, 46), self.dice.randint(22, 46)
        gap = self.dice.randint(5, 16)
        shift = self.dice.randint(-8, 8) + (first - second) // 2
        length, breadth = first + gap + second, max(first, second) + 10
        width, height = (length, breadth) if side == "right of" else (breadth, length)
        for _ in range(_TRIES):
            left = self.dice.randint(8, max(8, self.size - width - 8))
            top = self.dice.randint(8, max(8, self.size - height - 8))
            one = (left, top, first, first)
            other = (left + first + gap, top + shift) if side == "right of" else (left + shift, top + first + gap)
            two = (*other, second, second)
            outline = _join(one, two)
            inside = min(outline[:2]) >= 2 and outline[0] + outline[2] <= self.size - 2
            inside = inside and outline[1] + outline[3] <= self.size - 2
            zone = (outline[0] - _APART, outline[1] - _APART, outline[2] + 2 * _APART, outline[3] + 2 * _APART)
            if inside and self._free(zone):
                self.forbidden.append(zone)
                self._add("shape", anchor, one)
                self._add("shape", companion, two)
                self.pairs.append((len(self.items) - 2, len(self.items) - 1, side))
                return True
        return False

    def _free(self, box: Box) -> bool:
        return not any(_meet(box, item.box, _GAP) for item in self.items)

    def _add(self, kind: Kind, name: str, box: Box) -> None:
        self.items.append(Item(kind, name, self.dice.choice(COLOURS), box, self.dice.randrange(2**31)))


def _meet(one: Box, other: Box, gap: int) -> bool:
    return (
        one[0] < other[0] + other[2] + gap
        and other[0] < one[0] + one[2] + gap
        and one[1] < other[1] + other[3] + gap
        and other[1] < one[1] + one[3] + gap
    )


def _join(one: Box, other: Box) -> Box:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top
