"""The guard: no answer that is an error leaves but in our vocabulary, and none by a broken connection.

It stands round each route, where it sees what vLLM's handlers raise and answer, and once more round the whole app,
where it sees what middlewares say. An exception that no handler takes would else be answered by Starlette's outermost
middleware, which raises it again, so that the connection is closed under the client's next request.

A stream is held back until the engine has taken the request: vLLM validates much of it only when the stream is first
read, and would report that under a 200.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..request.attempt import Attempt, attempting
from ..request.record import current_record
from .faults import refusal_of
from .foreign import is_error_event, refusal_of_answer, refusal_of_event
from .handlers import judged
from .refusal import Refusal, answer, event_of
from .sockets import guard_opening

OWN_SHAPE: Final = ("/cohere/",)
"""An API of vLLM's, off unless asked for, that has errors of its own."""

LONGEST_BODY: Final = 2**20
"""Bytes of an error body that are looked at."""

MOST_HELD: Final = 8
"""Pieces of a stream that are held back; a response begins with two that come before the engine is asked. What is
fetched asks no engine: its first piece says whether it is there."""

_NOT_KEPT: Final = ("content-length", "content-type")


class Guard:
    """An ASGI application with its errors in our vocabulary."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await guard_opening(self._app, scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"].startswith(OWN_SHAPE):
            await self._app(scope, receive, send)
            return
        with attempting() as attempt:
            outgoing = _Answer(scope, receive, send, attempt)
            try:
                await self._app(scope, receive, outgoing.send)
            except ClientDisconnect:
                raise
            except Exception as exc:
                if not outgoing.can_tell(exc):
                    raise
                await outgoing.fail(exc)


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, attempt: Attempt) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._attempt = attempt
        self._start: Message | None = None  # not sent yet
        self._held: list[Message] = []
        self._started = False
        self._over = False
        self._streams = False
        self._events = 0

    async def send(self, message: Message) -> None:
        """In place of the server's `send`."""
        if self._over:
            return  # what follows an answer that was replaced
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._start is not None:
            await (self._hold(message) if self._streams else self._collect(message, self._start))
        elif self._streams and is_error_event(body := bytes(message.get("body", b""))):
            await self._send({**message, "body": self._event(refusal_of_event(body, self._scope), body)})
        else:
            self._events += 1
            await self._send(message)

    def can_tell(self, exc: Exception) -> bool:
        """Whether the client can still be told: nothing was sent, or a stream that takes an error event."""
        return not self._over and (not self._started or (self._streams and not isinstance(exc, OSError)))

    async def fail(self, exc: Exception) -> None:
        """End the answer with what an exception comes to."""
        refusal = judged(exc, self._scope)
        if self._started:
            self._over = True
            await self._send({"type": "http.response.body", "body": event_of(refusal, self._scope, self._events)})
        else:
            await self._replace(refusal)

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(raw=message["headers"])
        self._streams = message["status"] < 400 and headers.get("content-type", "").startswith("text/event-stream")
        early = self._streams and not self._attempt.accepted
        if message["status"] >= 400 or early:
            self._start = message
        else:
            self._started = True
            await self._send(message)

    async def _hold(self, message: Message) -> None:
        body = bytes(message.get("body", b""))
        if is_error_event(body):
            await self._replace(self._told(refusal_of_event(body, self._scope)))
            return
        self._held.append(message)
        most = MOST_HELD if self._scope["method"] == "POST" else 0
        if self._attempt.accepted or not message.get("more_body", False) or len(self._held) > most:
            await self._release()

    async def _release(self) -> None:
        start, self._start, self._started = self._start, None, True
        if start is not None:
            await self._send(start)
        self._events = len(self._held)
        for message in self._held:
            await self._send(message)
        self._held.clear()

    async def _collect(self, message: Message, start: Message) -> None:
        self._held.append(message)
        body = b"".join(bytes(part.get("body", b"")) for part in self._held)
        if message.get("more_body", False) and len(body) < LONGEST_BODY:
            return
        headers = MutableHeaders(raw=start["headers"])
        kept = {name: value for name, value in headers.items() if name not in _NOT_KEPT}
        await self._replace(self._told(refusal_of_answer(start["status"], body, self._scope, kept)))

    async def _replace(self, refusal: Refusal) -> None:
        self._over = True
        if (record := current_record()) is not None:
            record.refused_as = refusal.code
        await answer(refusal, self._scope, self._receive, self._send)

    def _told(self, foreign: Refusal) -> Refusal:
        """What vLLM made an answer of, if that is known, else what the answer says."""
        failure, self._attempt.failure = self._attempt.failure, None
        if failure is None:
            return foreign
        told = refusal_of(failure, self._scope, self._attempt)
        return Refusal(told.status, told.code, told.message, told.param, {**foreign.headers, **told.headers})

    def _event(self, foreign: Refusal, body: bytes) -> bytes:
        rest = b"data: [DONE]\n\n" if body.endswith(b"data: [DONE]\n\n") else b""
        return event_of(self._told(foreign), self._scope, self._events) + rest
