"""Counts requests in and out, and turns new ones away while the server stops."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors.refusal import answer
from ..lifecycle.drain import SHUTTING_DOWN, InFlight, TooLate
from .early_answer import announced

ALWAYS_OPEN: Final = frozenset({"/metrics", "/livez"})
"""How a drain goes is worth watching, and a server that drains lives. /health and /readyz are not among them: 503 there
takes the replica out of rotation."""


class DrainMiddleware:
    """Counts requests in and out; pure ASGI, since a stream is in flight until its last byte.

    It also lets the process's Ending listen for signals when the app starts: vLLM has set its own handlers by then.
    """

    def __init__(self, app: ASGIApp, requests: InFlight) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and (ending := getattr(scope["app"].state, "sppruner_ending", None)) is not None:
            ending.listen()
        if scope["type"] != "http" or scope["path"] in ALWAYS_OPEN:
            await self._app(scope, receive, send)
        elif (refusal := self._requests.enter()) is None:
            try:
                await self._app(scope, self._coming_in(receive) if announced(scope) else receive, send)
            except TooLate:
                await answer(self._requests.refusal or SHUTTING_DOWN, scope, receive, send)
            finally:
                self._requests.leave()
        else:
            await answer(refusal, scope, receive, send)

    def _coming_in(self, receive: Receive) -> Receive:
        """A `receive` that waits for the end of a body only as long as the server does."""
        whole = False

        async def bounded() -> Message:
            nonlocal whole
            message = await (receive() if whole else self._requests.piece(receive))
            whole = not message.get("more_body", False)
            return message

        return bounded
