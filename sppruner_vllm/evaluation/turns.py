"""A chat of several turns about the same pictures, as messages of OpenAI's API and of chat templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier turn: what was asked, and the answer that the chat goes on from."""

    text: str
    answer: str


def messages(text: str, before: Sequence[Turn], pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pictures and the first text in one message, then answers and texts in turn.

    Args:
        text: of the last turn. before: the turns before it, oldest first. pictures: one content part each.
    """
    asked = [*(turn.text for turn in before), text]
    chat: list[dict[str, Any]] = [{"role": "user", "content": [*pictures, {"type": "text", "text": asked[0]}]}]
    for turn, following in zip(before, asked[1:], strict=True):
        chat += [{"role": "assistant", "content": turn.answer}, {"role": "user", "content": following}]
    return chat
