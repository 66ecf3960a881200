"""Takes in the body of a request, within bounds: its bytes, the time it takes to come, the bytes of all together.

The body is whole before anything else of the request is done. So a body that trickles in takes nobody's place, and no
handler meets half of one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors.refusal import Refusal
from .early_answer import announced
from .refusing import refuse

SLOWEST: Final = 32 * 1024
"""Bytes a second that a body may come at for as long as it takes."""

GRACE_SECONDS: Final = 0.5

TOO_SLOW: Final = Refusal(
    408, "request_timeout", "the body of the request came too slowly", headers={"connection": "close"}
)
NO_ROOM: Final = Refusal(
    503, "server_overloaded", "the server holds as much as it can; try again", headers={"retry-after": "1"}
)


class BrokenBound(Exception):
    """A body that is not taken in."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ClientLeft(Exception):
    """There is nobody to answer."""


class BodyMiddleware:
    """Pure ASGI. The bytes of all bodies are those of this process."""

    def __init__(self, app: ASGIApp, most: int, most_held: int, seconds: float) -> None:
        """Args:
        most: bytes of one body. most_held: bytes of the bodies of all requests in flight.
        seconds: for a body to come, beside one for every SLOWEST bytes of it; 0 for any time.
        """
        self._app = app
        self._most = most
        self._most_held = most_held
        self._held = 0
        self._seconds = seconds or math.inf
        self._too_large = Refusal(
            413, "request_too_large", f"the body of a request may have {most / 2**20:g} MiB at most"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (length := announced(scope)) == 0:
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        try:
            await self._take_in(body, length)
            await self._app(scope, body.give, send)
        except BrokenBound as broken:
            await refuse(broken.refusal, scope, receive, send)
        except ClientLeft:
            pass
        finally:
            self._held -= body.taken

    async def _take_in(self, body: _Body, length: float) -> None:
        """Read a body, piece by piece.

        Raises:
            BrokenBound: it is too long or too slow, or there is no room for it.
            ClientLeft: it ended before its end.
        """
        if self._most < length < math.inf:
            raise BrokenBound(self._too_large)
        began = time.monotonic()
        while not body.whole:
            count = await body.take(began + self._seconds + body.taken / SLOWEST)
            self._held += count
            if body.taken > self._most:
                raise BrokenBound(self._too_large)
            if self._held > self._most_held:
                raise BrokenBound(NO_ROOM)


class _Body:
    """The body of one request: taken in piece by piece, and given on so, without a copy."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._pieces: deque[bytes] = deque()
        self._given = False
        self.taken = 0
        self.whole = False

    async def take(self, deadline: float) -> int:
        """Bytes of the next piece, which has come by the deadline on the monotonic clock.

        Raises:
            BrokenBound: it has not.
            ClientLeft: no further one comes.
        """
        message = await self._next(deadline)
        if message["type"] != "http.request":
            raise ClientLeft
        piece: bytes = message.get("body", b"")
        if piece:
            self._pieces.append(piece)
            self.taken += len(piece)
        self.whole = not message.get("more_body", False)
        return len(piece)

    async def _next(self, deadline: float) -> Message:
        if deadline == math.inf:
            return await self._receive()
        # Twice: where the loop was held up, what came meanwhile has not been read yet.
        for left in (max(0.0, deadline - time.monotonic()), GRACE_SECONDS):
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    return await self._receive()
        raise BrokenBound(TOO_SLOW)

    async def give(self) -> Message:
        """A `receive` for what is behind: the body, then whatever else comes."""
        if self._given:
            return await self._receive()
        piece = self._pieces.popleft() if self._pieces else b""
        self._given = not self._pieces
        return {"type": "http.request", "body": piece, "more_body": not self._given}
