"""Draining: a server that stops finishes what it has and refuses what is new, so that a balancer loses nothing.

What is in flight is counted here, by middleware/drain.py. When to stop and how long to wait is ending.py's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from ..errors.refusal import Refusal

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

BODY_SECONDS: Final = 3.0
"""For a body that is on its way in when the server begins to stop: nobody who trickles one in holds up the end."""


class TooLate(Exception):
    """The rest of a body that the server does not wait for."""


class InFlight:
    """The requests in flight of this process, and what new ones are refused with, if they are. Of the event loop."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self._deadline = math.inf
        self._coming: set[asyncio.Timeout] = set()
        self._in_flight = 0
        self._watchers: list[Callable[[], None]] = []
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> Refusal | None:
        """None for a new request that may come in; it must `leave`. Else what it is refused with."""
        if self.refusal is None:
            self._in_flight += 1
            self._empty.clear()
            self._tell()
        return self.refusal

    def leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._empty.set()

    def close(self, refusal: Refusal, seconds: float = BODY_SECONDS) -> None:
        """Let no new request in, and no body that is not whole after so many seconds; the last reason given counts."""
        self.refusal = refusal
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        for limit in self._coming:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time() + self._left())
        self._tell()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` whenever a request has come in, and when no more may."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    async def piece(self, receive: Receive) -> Message:
        """The next message of a request whose body is not whole yet.

        Raises:
            TooLate: it did not come in time.
        """
        limit = asyncio.timeout(None if self._deadline == math.inf else self._left())
        try:
            async with limit:
                self._coming.add(limit)
                return await receive()
        except TimeoutError:
            if limit.expired():
                raise TooLate from None
            raise
        finally:
            self._coming.discard(limit)

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    @property
    def count(self) -> int:
        return self._in_flight

    async def until_empty(self) -> None:
        """Returns when no request is in flight any more."""
        await self._empty.wait()
