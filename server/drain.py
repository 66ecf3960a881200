"""Draining: after a SIGTERM the server finishes what it has and refuses what is new, so that a balancer loses nothing.

vLLM 0.32 and 0.33 shut their renderer and engine down first and keep listening: /health stays 200, and every request
from then on, or not yet with the engine, ends in a 500 (entrypoints/launchers/launcher.py, handle_shutdown). Here that
step waits until no request is left, for at most --shutdown-timeout; meanwhile new ones get a 503 that any replica may
answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ErrorBody, ErrorObject

ALWAYS_OPEN: Final = frozenset({"/metrics"})
"""How a drain goes is worth watching. /health is not among them: 503 there takes the replica out of rotation."""

REFUSAL: Final = ErrorBody(
    error=ErrorObject(
        message="the server is stopping; send the request again", type="server_error", code="shutting_down"
    )
).model_dump()

HEADERS: Final = {
    "retry-after": "1",
    "connection": "close",
    # Envoy takes this as a failed health check: it need not wait for its next one.
    "x-envoy-immediate-health-check-fail": "true",
}


Shutdown = Callable[..., None]


class InFlight:
    """The requests in flight of this process, and whether new ones may come in."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._in_flight = 0
        self._closed = False

    def enter(self) -> bool:
        """Whether a new request may come in; one that did must `leave`."""
        with self._changed:
            if self._closed:
                return False
            self._in_flight += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True

    def wait_until_empty(self, seconds: float) -> bool:
        """Whether no request is in flight any more, within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, seconds)


class DrainMiddleware:
    """Counts requests in and out; pure ASGI, since a stream is in flight until its last byte."""

    def __init__(self, app: ASGIApp, requests: InFlight) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS_OPEN:
            await self._app(scope, receive, send)
        elif self._requests.enter():
            try:
                await self._app(scope, receive, send)
            finally:
                self._requests.leave()
        else:
            await JSONResponse(REFUSAL, 503, HEADERS)(scope, receive, send)


def drained(shutdown: Shutdown, requests: InFlight) -> Shutdown:
    """vLLM's `AsyncLLM.shutdown`, bound, after the requests in flight."""

    def shutdown_drained(timeout: float | None = None) -> None:
        requests.close()
        # vLLM calls this from a thread of its own after a signal, and from the event loop's thread when all is over or
        # the engine died: there nobody could finish anything while we wait.
        if timeout and threading.current_thread() is not threading.main_thread():
            begin = time.monotonic()
            requests.wait_until_empty(timeout)
            timeout = max(0.0, timeout - (time.monotonic() - begin))
        shutdown(timeout=timeout)

    return shutdown_drained
