"""How far a request has come: what tells the client's fault from the server's when it fails.

A context variable carries it, as with record.py; every request has one, ours and vLLM's routes alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(slots=True)
class Attempt:
    """Filled in while the request is served.

    accepted: the engine has taken a prompt of it. Until then the request is being parsed and rendered, and what fails
        is what the client sent.
    failure: what was raised, where vLLM makes an answer of its own from an exception and loses what it was.
    """

    accepted: bool = False
    failure: Exception | None = None


_current: ContextVar[Attempt | None] = ContextVar("sppruner_attempt", default=None)


def current_attempt() -> Attempt | None:
    """The attempt of the request that this task serves; None outside requests."""
    return _current.get()


def note_accepted() -> None:
    """The engine has taken a prompt of the current request."""
    if (attempt := current_attempt()) is not None:
        attempt.accepted = True


def note_failure(exc: Exception) -> None:
    """What the current request fails with, for the answer that someone else will make of it."""
    if (attempt := current_attempt()) is not None:
        attempt.failure = exc


def noting(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A coroutine function whose exceptions are noted on their way."""

    @wraps(handler)
    async def noted(*args: Any, **kwargs: Any) -> Any:
        try:
            return await handler(*args, **kwargs)
        except Exception as exc:
            note_failure(exc)
            raise

    return noted


@contextmanager
def attempting() -> Iterator[Attempt]:
    """The attempt of the request that is served, a fresh one where there is none yet."""
    if (known := current_attempt()) is not None:
        yield known
        return
    attempt = Attempt()
    token = _current.set(attempt)
    try:
        yield attempt
    finally:
        _current.reset(token)
