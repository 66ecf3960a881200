"""Ends a connection whose request was answered before its body had come: nobody sends 200 MB to be told that a key is
missing.

The connection is closed only after a short wait, in which what still comes is read and dropped: closed at once, it
would take the answer with it.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_REST: Final = 64 * 1024
"""Bytes of a body that are not worth a connection: the server in front drops them."""

LINGER_SECONDS: Final = 2.0


class EarlyAnswerMiddleware:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp, most_dropped: int) -> None:
        """Args: most_dropped: bytes that are read in vain before the connection is closed all the same."""
        self._app = app
        self._most_dropped = most_dropped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (length := announced(scope)) <= SMALL_REST:
            await self._app(scope, receive, send)
        else:
            request = _Request(length, self._most_dropped, receive, send)
            await self._app(scope, request.receive, request.send)


class _Request:
    """A request with a body on its way in, and its answer on its way out."""

    def __init__(self, length: float, most_dropped: int, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._length = length
        self._most_dropped = most_dropped
        self._taken = 0
        self._ended = False
        self._lingers = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._ended = self._ended or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._ended and self._length - self._taken > SMALL_REST:
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            message = {
                **message,
                "headers": headers if b"connection" in names else [*headers, (b"connection", b"close")],
            }
            # Of an answer without a length the client learns the end by the end itself.
            self._lingers = b"content-length" in names
        if self._lingers and message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        most = self._taken + self._most_dropped
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._ended and self._taken <= most:
                    await self.receive()


def announced(scope: Scope) -> float:
    """Bytes that the body of a request will have; infinite where its head does not say."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return math.inf
    # Servers refuse a length that is no number before any of this runs.
    return int(headers.get(b"content-length", b"0"))
