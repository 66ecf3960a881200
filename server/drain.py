"""Draining: a server that stops finishes what it has and refuses what is new, so that a balancer loses nothing.

What is in flight is counted here, by middleware/drain.py. When to stop and how long to wait is ending.py's.
"""

from __future__ import annotations

import asyncio
from typing import Final

from .refusal import Refusal

SHUTTING_DOWN: Final = Refusal(
    503,
    "shutting_down",
    "the server is stopping; send the request again",
    headers={
        "retry-after": "1",
        "connection": "close",
        # Envoy takes this as a failed health check: it need not wait for its next one.
        "x-envoy-immediate-health-check-fail": "true",
    },
)


class InFlight:
    """The requests in flight of this process, and what new ones are refused with, if they are. Of the event loop."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self._in_flight = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> Refusal | None:
        """None for a new request that may come in; it must `leave`. Else what it is refused with."""
        if self.refusal is None:
            self._in_flight += 1
            self._empty.clear()
        return self.refusal

    def leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._empty.set()

    def close(self, refusal: Refusal) -> None:
        """Let no new request in; the last reason given counts."""
        self.refusal = refusal

    @property
    def count(self) -> int:
        return self._in_flight

    async def until_empty(self) -> None:
        """Returns when no request is in flight any more."""
        await self._empty.wait()
