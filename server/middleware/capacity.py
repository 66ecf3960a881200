"""Bounds the requests in flight, waiting ones included: beyond, a 503 at once serves a client better than a long wait.

vLLM takes any number and lets them queue before its engine, each with its body and pictures in memory.
"""

from __future__ import annotations

import math
import time
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from .refusing import refuse
from .work import is_work

LEAST_WAITING: Final = 64
LONGEST_HINT: Final = 30
_NEW_SHARE: Final = 0.1
"""Of the latest request in the running mean of what requests take."""


class CapacityMiddleware:
    """Pure ASGI, since a stream is in flight until its last byte. Each API process has its share of the limit."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Args: most: requests of this process in flight; 0 for any number."""
        self._app = app
        self._most = most or math.inf
        self._in_flight = 0
        self._seconds = 1.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_work(scope):
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._most:
            await refuse(self._refusal(), scope, receive, send)
            return
        self._in_flight += 1
        began = time.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
            self._seconds += _NEW_SHARE * (time.monotonic() - began - self._seconds)

    def _refusal(self) -> Refusal:
        # By then about half of those in flight are done.
        hint = min(LONGEST_HINT, max(1, math.ceil(self._seconds / 2)))
        return Refusal(
            503,
            "server_overloaded",
            "the server has as many requests as it takes at a time; try again",
            headers={"retry-after": str(hint)},
        )


def most_requests(chosen: int | None, batch: int, processes: int) -> int:
    """The requests that one API process may have in flight; 0 for any number.

    Args:
        chosen: the operator's limit for the server, None for two batches, of which the second has at least
            LEAST_WAITING places.
        batch: requests that the engines work on at a time. processes: API processes of the server.
    """
    whole = batch + max(batch, LEAST_WAITING) if chosen is None else chosen
    return math.ceil(whole / processes)
