"""ChatML, the chat template of Qwen's models and of others built on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sppruner_vllm.planning.query import TurnMarkers

_OPENS: Final = "<|im_start|>"
_CLOSES: Final = "<|im_end|>"


def speaks_chatml(tokenizer: Any) -> bool:
    """Whether a tokenizer has the ids by which ChatML marks turns."""
    return {_OPENS, _CLOSES} <= set(tokenizer.get_vocab())


def chatml_turns(tokenizer: Any, silent: Iterable[int]) -> TurnMarkers:
    """The turns of a ChatML prompt.

    Args:
        silent: ids beside the special ones that are never part of a query.
    """
    vocabulary = tokenizer.get_vocab()
    return TurnMarkers(
        start=vocabulary[_OPENS],
        end=vocabulary[_CLOSES],
        newline=tokenizer.encode("\n", add_special_tokens=False)[-1],
        silent=frozenset((*tokenizer.all_special_ids, *silent)),
    )
