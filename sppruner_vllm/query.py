"""The question an image is asked: the text of the chat turn that holds it.

Chosen because it never changes as a chat grows, so earlier images keep their identity and vLLM its caches. Works on
token ids alone, because that is all a multimodal processor sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def turn_query(prompt: Sequence[int], index: int, markers: TurnMarkers, longest: int) -> tuple[int, ...]:
    """Text tokens of the turn around a placeholder.

    A prompt without turn markers counts as one turn. The last tokens are kept when there are too many: questions
    follow their context more often than not.

    Args:
        prompt: token ids before placeholder expansion.
        index: position of the image's placeholder in `prompt`.
        markers: the template's markers.
        longest: most tokens to return, at least 1.

    Returns:
        Token ids in prompt order, possibly none.
    """
    start = next((i + 1 for i in range(index - 1, -1, -1) if prompt[i] == markers.start), None)
    begin = 0 if start is None else _after_header(prompt, start, markers)
    end = next((i for i in range(index + 1, len(prompt)) if prompt[i] in (markers.end, markers.start)), len(prompt))
    text = [token for token in prompt[begin:end] if token not in markers.silent]
    return tuple(text[-longest:])


def _after_header(prompt: Sequence[int], start: int, markers: TurnMarkers) -> int:
    header = prompt[start : start + _LONGEST_HEADER]
    return start + header.index(markers.newline) + 1 if markers.newline in header else start
