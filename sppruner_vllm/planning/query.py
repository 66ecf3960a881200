"""The question an image is asked: the text of the chat turn that holds it.

Chosen because it never changes as a chat grows, so earlier images keep their identity and vLLM its caches. Works on
token ids alone, because that is all a multimodal processor sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

_LONGEST_HEADER: Final = 8
"""Tokens a role header may take, its newline included; a later newline belongs to the text."""


class TurnFinder(Protocol):
    """How a chat template cuts a prompt into turns."""

    @property
    def silent(self) -> frozenset[int]:
        """Ids that are never part of a query: special and vision tokens."""

    def spans(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(text, end) of each turn in order, the last one up to the end of the prompt.

        A turn ends where the next begins; what is said in it starts at `text`, behind the role's header.
        """


@dataclass(frozen=True, slots=True)
class TurnMarkers:
    """Turns opened and closed by a token of their own, as in ChatML.

    start, end: ids that open and close a turn. newline: id that ends the role header.
    silent: ids that are never part of a query (special and vision tokens).
    """

    start: int
    end: int
    newline: int
    silent: frozenset[int]

    def spans(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        bounds = [index for index, token in enumerate(prompt) if token in (self.start, self.end)]
        for before, after in pairwise([-1, *bounds, len(prompt)]):
            text = before + 1
            if before >= 0 and prompt[before] == self.start:
                header = prompt[text : text + _LONGEST_HEADER]
                if self.newline in header:
                    text += header.index(self.newline) + 1
            yield min(text, after), after


@dataclass(frozen=True, slots=True)
class SpokenTurns:
    """Turns that plain words open, such as "USER:", which a tokenizer cuts differently from place to place.

    A prompt without these words is of another template, of which nothing is known: it has no text that is a query.

    words: what opens a turn. pieces: the text of each id, with the blanks around it as they stand in the prompt.
    silent: ids that are never part of a query.
    """

    words: tuple[str, ...]
    pieces: Callable[[Sequence[int]], Sequence[str]]
    silent: frozenset[int]

    def spans(self, prompt: Sequence[int]) -> Iterator[tuple[int, int]]:
        pieces = self.pieces(prompt)
        owner = [index for index, piece in enumerate(pieces) for _ in piece]
        opening = re.finditer("|".join(map(_opening, self.words)), "".join(pieces))
        opened = [(owner[match.start()], owner[match.end() - 1] + 1) for match in opening]
        first = opened[0][0] if opened else len(prompt)
        yield first, first
        ends = [begin for begin, _ in opened[1:]] + [len(prompt)]
        for (_, text), end in zip(opened, ends, strict=False):
            yield min(text, end), end


def _opening(word: str) -> str:
    """What finds a word that opens a turn; a letter before one that begins with a letter makes another word of it."""
    return rf"(?<!\w){re.escape(word)}" if word[0].isalnum() else re.escape(word)


def turn_queries(
    prompt: Sequence[int], places: Sequence[int], turns: TurnFinder, longest: int
) -> list[tuple[int, ...]]:
    """Text tokens of the turn around each placeholder, in one pass over the prompt.

    A prompt without turns counts as one. The last tokens are kept when there are too many: questions follow their
    context more often than not.

    Args:
        prompt: token ids before placeholder expansion.
        places: ascending positions of image placeholders in `prompt`.
        turns: the template's turns.
        longest: most tokens of a query, at least 1.

    Returns:
        Per placeholder, token ids in prompt order, possibly none.
    """
    queries: list[tuple[int, ...]] = []
    left = iter(places)
    place = next(left, None)
    for text, end in turns.spans(prompt):
        query: tuple[int, ...] | None = None
        while place is not None and place < end:
            if query is None:
                said = [token for token in prompt[text:end] if token not in turns.silent]
                query = tuple(said[-longest:])
            queries.append(query)
            place = next(left, None)
    return queries


def turn_numbers(prompt: Sequence[int], places: Sequence[int], turns: TurnFinder) -> list[int]:
    """The number of the turn around each placeholder, from 0; arguments as above."""
    numbers: list[int] = []
    for number, (_, end) in enumerate(turns.spans(prompt)):
        while len(numbers) < len(places) and places[len(numbers)] < end:
            numbers.append(number)
    return numbers
