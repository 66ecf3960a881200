"""How many visual tokens a prompt has room for, and what may be decoded for it, asked of each head first.

A picture or video that cannot fit costs its head alone, however large it is. The processor counts again, exactly, with
the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Final

from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.planning.bounds import refuse_media

TokensOf = Callable[[int, int], int]
"""Visual tokens of a picture of that width and height, before any reduction."""

TokensOfVideo = Callable[[int, int, int], int]
"""The same of a video of so many frames of that width and height."""


@dataclass(frozen=True, slots=True)
class Most:
    """prompt: tokens of all pictures and videos. picture, video: of one; None for as many as there may be of all.

    reduced: whether the request asks for fewer, so that the refusal is about that.
    """

    prompt: int
    picture: int | None
    video: int | None
    reduced: bool


class Room:
    """What is left of it as the pictures and videos of one prompt come in, from several threads."""

    def __init__(
        self,
        tokens_of: TokensOf,
        always: int,
        most: Callable[[], Most | None],
        tokens_of_video: TokensOfVideo | None = None,
    ) -> None:
        """Args:
        tokens_of_video: None where only vLLM's processing says how many they are.
        always: tokens that there may be whatever is asked.
        most: tells what there may be; asked beyond that alone, None where only the plan can say.
        """
        self._tokens_of = tokens_of
        self._tokens_of_video = tokens_of_video
        self._always = always
        self._most = most
        self._taken = 0
        self._lock = Lock()

    def take(self, width: int, height: int) -> None:
        """Count a picture.

        Raises:
            InvalidField: it has too many visual tokens, or all of them have.
        """
        self._count(self._tokens_of(width, height), lambda most: most.picture, "an image")

    def take_video(self, width: int, height: int, frames: int) -> None:
        """Count a video.

        Args:
            frames: that are shown, before vLLM's processing.

        Raises:
            InvalidField: it has too many visual tokens, or all media so far have.
        """
        if self._tokens_of_video is not None:
            self._count(self._tokens_of_video(width, height, frames), lambda most: most.video, "a video")

    def _count(self, tokens: int, of_one: Callable[[Most], int | None], what: str) -> None:
        with self._lock:
            self._taken += tokens
            taken = self._taken
        if taken > self._always and (most := self._most()) is not None:
            one = of_one(most)
            refuse_media(taken, most.prompt, tokens, most.prompt if one is None else one, what, reduced=most.reduced)


_room: Final[ContextVar[Room | None]] = ContextVar("sppruner_room", default=None)
_budget: Final[ContextVar[PixelBudget | None]] = ContextVar("sppruner_pixels", default=None)
_shared: Final[ContextVar[PixelBudget | None]] = ContextVar("sppruner_shared_pixels", default=None)


def current_room() -> Room | None:
    """The room in the prompt that is being rendered; None where nobody has measured it."""
    return _room.get()


def current_budget() -> PixelBudget | None:
    """What is left to be decoded for the prompt that is being rendered; None outside of that."""
    return _budget.get()


@contextmanager
def sharing(budget: PixelBudget) -> Iterator[None]:
    """Let the prompts that are rendered inside the block have one budget: those of one request."""
    token = _shared.set(budget)
    try:
        yield
    finally:
        _shared.reset(token)


@contextmanager
def within(room: Room | None, budget: PixelBudget) -> Iterator[None]:
    """Let the pictures that are read inside the block be counted.

    Args:
        room: in the prompt; None where nobody has measured it. budget: of a prompt that shares none with others.
    """
    tokens = _room.set(room), _budget.set(_shared.get() or budget)
    try:
        yield
    finally:
        _room.reset(tokens[0])
        _budget.reset(tokens[1])
