"""The turns of a chat template, where its tokenizer alone tells which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sppruner_vllm.planning.query import SpokenTurns, TurnFinder

from .chatml import chatml_turns, speaks_chatml

_BLANKS: Final = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})
"""How tokenizers write blanks inside a token."""


def turns_of(tokenizer: Any, openings: Sequence[str], silent: Sequence[int]) -> TurnFinder:
    """ChatML's turns where the tokenizer knows its marks, else those that words open.

    Args:
        openings: what opens a turn, in the templates that are not ChatML.
        silent: ids beside the special ones that are never part of a query.
    """
    return chatml_turns(tokenizer, silent) if speaks_chatml(tokenizer) else spoken_turns(tokenizer, openings, silent)


def spoken_turns(tokenizer: Any, openings: Sequence[str], silent: Sequence[int]) -> TurnFinder:
    """The turns that words open; arguments as above."""

    def pieces(prompt: Sequence[int]) -> list[str]:
        # An id of the model that the tokenizer does not know has no piece.
        return [(piece or "").translate(_BLANKS) for piece in tokenizer.convert_ids_to_tokens(list(prompt))]

    return SpokenTurns(tuple(openings), pieces, frozenset((*tokenizer.all_special_ids, *silent)))
