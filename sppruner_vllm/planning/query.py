"""The question an image is asked: the text of the chat turn that holds it.

Chosen because it never changes as a chat grows, so earlier images keep their identity and vLLM its caches. Works on
token ids alone, because that is all a multimodal processor sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_LONGEST_HEADER: Final = 8
"""Tokens a role header may take, its newline included; a later newline belongs to the text."""


@dataclass(frozen=True, slots=True)
class TurnMarkers:
    """Token ids that structure a ChatML prompt.

    start, end: ids that open and close a turn. newline: id that ends the role header.
    silent: ids that are never part of a query (special and vision tokens).
    """

    start: int
    end: int
    newline: int
    silent: frozenset[int]


def turn_queries(
    prompt: Sequence[int], places: Sequence[int], markers: TurnMarkers, longest: int
) -> list[tuple[int, ...]]:
    """Text tokens of the turn around each placeholder, in one pass over the prompt.

    A prompt without turn markers counts as one turn. The last tokens are kept when there are too many: questions
    follow their context more often than not.

    Args:
        prompt: token ids before placeholder expansion.
        places: ascending positions of image placeholders in `prompt`.
        markers: the template's markers.
        longest: most tokens of a query, at least 1.

    Returns:
        Per placeholder, token ids in prompt order, possibly none.
    """
    bounds = [index for index, token in enumerate(prompt) if token in (markers.start, markers.end)]
    edges = [-1, *bounds, len(prompt)]
    queries: list[tuple[int, ...]] = []
    left = iter(places)
    place = next(left, None)
    for before, after in pairwise(edges):
        query: tuple[int, ...] | None = None
        while place is not None and place < after:
            if query is None:
                query = _text(prompt, before, after, markers, longest)
            queries.append(query)
            place = next(left, None)
    return queries


def _text(prompt: Sequence[int], before: int, after: int, markers: TurnMarkers, longest: int) -> tuple[int, ...]:
    """The query of the turn between two edges, both exclusive."""
    begin = before + 1
    if before >= 0 and prompt[before] == markers.start:
        header = prompt[begin : begin + _LONGEST_HEADER]
        if markers.newline in header:
            begin += header.index(markers.newline) + 1
    text = [token for token in prompt[begin:after] if token not in markers.silent]
    return tuple(text[-longest:])
