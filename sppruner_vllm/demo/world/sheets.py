"""Sheets of paper: a page of words, a table, a chart. What is printed is about one visual token high.

A sheet holds its own questions and its telling, for both follow from how it is arranged.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Final, Literal

from sppruner_vllm.demo.vocabulary import COLOURS, SIGN_WORDS

from .layout import Item, Kind, Layout
from .questions import Asked

SheetKind = Literal["page", "table", "chart"]
KINDS: Final[tuple[SheetKind, ...]] = ("page", "table", "chart")

LONGEST: Final = max(SIGN_WORDS, key=len)
_MARGIN: Final = 8
"""Pixels between the paper's edge and what is printed on it."""
_KNOWN_BY: Final = 8
"""Words that a page holds once, where it has room for others: a question can name these."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """layout: the picture. asked: every question that it answers. told: what it says, in sentences in its order."""

    layout: Layout
    asked: tuple[Asked, ...]
    told: tuple[str, ...]


def draw_sheet(kind: SheetKind, seed: int, size: int) -> Sheet:
    """The sheet of a seed.

    Args:
        seed: same seed, same sheet.
        size: pixels along the picture's side, at least 280.
    """
    dice = random.Random(f"{kind}:{seed}")  # noqa: S311 (a game of dice, not a secret)
    return {"page": _page, "table": _table, "chart": _chart}[kind](_Print(dice, size, seed))


class _Print:
    """What is being printed on one sheet: one font, one ink, one paper."""

    def __init__(self, dice: random.Random, size: int, seed: int) -> None:
        self.dice, self.size, self.seed = dice, size, seed
        self.height = dice.randint(22, 28)
        self.style = dice.randrange(2**31)
        self.items: list[Item] = []

    def width(self, text: str) -> int:
        return int(self.height * (0.72 * len(text) + 0.3))

    def put(self, kind: Kind, text: str, left: int, top: int) -> None:
        self.items.append(Item(kind, text, "black", (left, top, self.width(text), self.height), self.style))

    def finish(self, asked: list[Asked], told: list[str]) -> Sheet:
        """Lay paper under all that was printed, and move both to some place in the picture."""
        right = max(left + width for left, _, width, _ in (item.box for item in self.items)) + 2 * _MARGIN
        bottom = max(top + height for _, top, _, height in (item.box for item in self.items)) + 2 * _MARGIN
        across, down = (self.dice.randint(0, max(0, self.size - length)) for length in (right, bottom))
        items = tuple(_moved(item, across + _MARGIN, down + _MARGIN) for item in self.items)
        return Sheet(Layout(self.size, items, (), self.seed, (across, down, right, bottom)), tuple(asked), tuple(told))


def _moved(item: Item, right: int, down: int) -> Item:
    left, top, width, height = item.box
    return Item(item.kind, item.name, item.colour, (left + right, top + down, width, height), item.seed)


def _page(page: _Print) -> Sheet:
    """20 to 60 words, fewer on less than 448 pixels; a question names a word that the page holds once."""
    dice, room = page.dice, page.size - 2 * _MARGIN
    wanted = max(6, int(dice.randint(20, 60) * min(1.0, page.size / 448) ** 2))
    words = dice.sample(SIGN_WORDS, len(SIGN_WORDS))
    once = words[:_KNOWN_BY]
    text = once + dice.choices(words[_KNOWN_BY:], k=max(0, wanted - len(once)))
    dice.shuffle(text)
    line, gap = page.height + dice.randint(2, 5), page.height // 3
    lines: list[list[str]] = [[]]
    left = 0
    for word in text:
        if left + page.width(word) > room:
            lines.append([])
            left = 0
        if len(lines) * line > room:
            lines.pop()
            break
        page.put("word", word, left, (len(lines) - 1) * line)
        lines[-1].append(word)
        left += page.width(word) + gap
    printed = [word for row in lines for word in row]
    asked = [
        Asked("page", f"Which word is after {one}?", other)
        for row in lines
        for one, other in itertools.pairwise(row)
        if printed.count(one) == 1
    ]
    return page.finish(asked, [f"The page said {' '.join(printed)}."])


def _table(table: _Print) -> Sheet:
    """Numbers below and right of the words that name their column and their row."""
    dice, room = table.dice, table.size - 2 * _MARGIN
    across, below = table.width(LONGEST) + dice.randint(0, 8), table.height + dice.randint(2, 10)
    rows = dice.randint(2, min(8, room // below - 1))
    columns = dice.randint(1, min(4, room // across - 1))
    names = dice.sample(SIGN_WORDS, rows + columns)
    down, along = names[:rows], names[rows:]
    asked, told = [], []
    for column, name in enumerate(along, start=1):
        table.put("word", name, column * across, 0)
    for row, name in enumerate(down, start=1):
        table.put("word", name, 0, row * below)
        for column, over in enumerate(along, start=1):
            number = str(dice.randrange(10, 100))
            table.put("cell", number, column * across, row * below)
            asked.append(Asked("table", f"Which number is right of {name} and below {over}?", number))
            told.append(f"The {name} and {over} number is {number}.")
    return table.finish(asked, told)


def _chart(chart: _Print) -> Sheet:
    """Bars on a line, each above its word; the tallest stands out from the next by six pixels at least."""
    dice = chart.dice
    wide = chart.width(LONGEST) + 4
    number = dice.randint(2, min(6, (chart.size - 2 * _MARGIN) // wide))
    names = dice.sample(SIGN_WORDS, number)
    tall = min(chart.size // 2, 200)
    heights = dice.sample(range(16, tall, 6), number)
    colours = dice.sample(COLOURS, number)
    for place, (name, height, colour) in enumerate(zip(names, heights, colours, strict=True)):
        box = (place * wide + wide // 4, tall - height, wide // 2, height)
        chart.put("word", name, place * wide, tall + 4)
        chart.items.append(Item("bar", name, colour, box, chart.style))
    order = sorted(range(number), key=heights.__getitem__)
    tallest, smallest = names[order[-1]], names[order[0]]
    asked = [Asked("chart", "Which bar is the highest?", tallest), Asked("chart", "Which bar is the least?", smallest)]
    asked += [Asked("chart", f"What colour is the {name} bar?", colours[place]) for place, name in enumerate(names)]
    told = [f"The highest bar is {tallest}.", f"The least bar is {smallest}."]
    told += [f"The {name} bar is {colours[place]}." for place, name in enumerate(names)]
    return chart.finish(asked, told)
