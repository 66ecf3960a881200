"""Whom a selection serves under `focus_scope: auto`: the question that an image was asked first, or all questions.

The first question about an image steers its selection. Another question can only come from another conversation, and
gets the selection that no question steers: the same for all of them, so that the prefix cache has it from then on. A
conversation sends its image with the same question turn by turn, so it keeps what it got. What is remembered decides
about reuse alone: forgotten, the next question is the first again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, Literal, Protocol

Served = Literal["question", "image"]
"""Whom a selection serves: its image's own question, or all questions about the image."""

DIGEST_BYTES: Final = 16


class Memory(Protocol):
    """The first question of each image, as far as it is remembered; both as digests of DIGEST_BYTES."""

    def recall(self, image: bytes) -> bytes | None:
        """The question that came first; None when none is known."""

    def note(self, image: bytes, question: bytes) -> None:
        """Remember a first question; another one that is known already stays."""


class FirstQuestions:
    """What one request finds out; remembered once the request was planned and not refused."""

    def __init__(self, memory: Callable[[], Memory]) -> None:
        """Args:
        memory: gives what was remembered; not called where nobody asks.
        """
        self._memory = memory
        self._new: dict[bytes, bytes] = {}

    def is_first(self, image: str, question: Sequence[int]) -> bool:
        """Whether an image has been asked nothing else before.

        Args:
            image: names what its questions would share. question: token ids, none for no question.
        """
        key, asked = _digest(image), _digest(repr(tuple(question)))
        first = self._new.get(key) or self._memory().recall(key)
        if first is None:
            self._new[key] = first = asked
        return first == asked

    def keep(self) -> None:
        """Remember what was new."""
        for image, question in self._new.items():
            self._memory().note(image, question)


class _Forgetful:
    def recall(self, image: bytes) -> bytes | None:
        return None

    def note(self, image: bytes, question: bytes) -> None:
        pass


def nothing_known() -> FirstQuestions:
    """For a host that remembers nothing."""
    return FirstQuestions(_Forgetful)


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
