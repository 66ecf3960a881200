"""Bounds what a connection may take before and after a request reaches the app: heads that trickle in, heads without
end, what stands around a body's chunks, wishes for another protocol, answers that nobody reads.

No middleware can see these: uvicorn calls the app once the head is whole, and has no time limit of its own but that of
an idle connection. So its protocol class is derived from, whichever of its two is in use.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sppruner_vllm.metrics.events import count_rejection
from sppruner_vllm.settings import settings

from .errors.refusal import Refusal, body_of
from .upgrades import HeadLines, fault_of_handshake

MOST_HEAD: Final = 64 * 1024
"""Bytes of a head that is not whole yet."""

MOST_FRAMING: Final = 8
"""Bytes around each byte of a body, beside MOST_HEAD: a chunk of one byte takes five."""

GRACE_SECONDS: Final = 0.5

TOO_SLOW: Final = Refusal(408, "request_timeout", "the head of the request came too slowly")
TOO_LONG: Final = Refusal(431, "head_too_large", f"the head of a request may have {MOST_HEAD // 1024} KiB at most")
TOO_FRAMED: Final = Refusal(431, "head_too_large", "extensions and trailers of the body's chunks are too long")
MALFORMED: Final = Refusal(400, "invalid_http", "this is not a valid HTTP request")

_PHRASES: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_NO_SCOPE: Final[dict[str, Any]] = {"type": "http", "path": "/"}

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = object


class Bounded(_Protocol):
    """One connection; to be mixed into uvicorn's class of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._head_is_whole = False
        self._lines = HeadLines()
        self._messages = 0
        self._body_bytes = 0
        self._framing = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        awaited = self.cycle is None or self.cycle.response_complete
        if awaited:
            self._await_head()
            self._head_bytes += len(data)
            if not self._head_is_whole:  # else it is the rest of a body that was answered before its end
                data = self._lines.without_upgrade(data)
                if self._lines.size > MOST_HEAD:  # it may have come in one piece, to its end
                    self._refuse(TOO_LONG)
                    return
        if not self.flow.write_paused:
            self._taken()  # whoever asks on has what was left to take
        before, message, body = self.cycle, self._messages, self._body_bytes
        super().data_received(data)
        if self.cycle is not before or self.transport.is_closing():
            self._head_came()
        elif awaited and self._head_bytes > MOST_HEAD:
            self._refuse(TOO_LONG)
        elif self._head_is_whole and self._messages == message:
            self._framing += len(data) - (self._body_bytes - body)
            if self._framing > MOST_HEAD + MOST_FRAMING * self._body_bytes:
                self._refuse(TOO_FRAMED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._taken()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, *args: Any) -> None:
        self._head_came()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # what was asked before has the connection to its end
            return
        target = args[0].target if args else self.url  # type: ignore[attr-defined]  # of h11, and of httptools
        if (fault := fault_of_handshake(self.scope, target)) is not None:
            self._refuse(fault)
        else:
            super().handle_websocket_upgrade(*args)

    def _unsupported_upgrade_warning(self) -> None:
        # httptools reads nothing more of a connection on which a protocol is asked for that is not spoken.
        if hasattr(self, "parser"):
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        # What is left for the client to take must go in time, whether the connection closes then or stays.
        if self.transport.get_write_buffer_size():
            self._await_taking()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(TOO_LONG if self._head_bytes > MOST_HEAD else MALFORMED)

    # Trailers: what comes behind a body would else be a header of a request that was let in by those before it.

    def on_message_begin(self) -> None:
        self._head_is_whole = False
        self._messages += 1
        self._body_bytes = self._framing = 0
        super().on_message_begin()  # type: ignore[misc]  # of uvicorn's httptools class; h11 keeps trailers apart

    def on_headers_complete(self) -> None:
        self._head_is_whole = True
        super().on_headers_complete()  # type: ignore[misc]

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_whole:
            super().on_header(name, value)  # type: ignore[misc]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)  # type: ignore[misc]

    def on_message_complete(self) -> None:
        self._head_is_whole = False
        super().on_message_complete()  # type: ignore[misc]

    # Heads

    def _await_head(self) -> None:
        if self._head_timer is None and (seconds := settings().header_timeout):
            self._head_timer = self.loop.call_later(seconds, self._head_is_late)

    def _head_came(self) -> None:
        self._head_bytes = 0
        self._lines = HeadLines()
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        # Where the loop was held up, what came meanwhile has not been read yet.
        self._head_timer = self.loop.call_later(GRACE_SECONDS, self._end_without_head)

    def _end_without_head(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(TOO_SLOW)
        elif not self.transport.is_closing():
            self.transport.close()  # nothing was asked: nothing is answered

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what never became a request, and close."""
        self._head_came()
        if self.transport.is_closing():
            return
        # An answer may be under way; and what came may be the rest of a body that was answered before its end.
        answered = self.cycle is not None and self.cycle.response_started
        if not answered or (self.cycle.response_complete and not self.cycle.more_body):
            self._answer(refusal)
        self.transport.close()
        self._await_taking()

    def _answer(self, refusal: Refusal) -> None:
        count_rejection(refusal.code)
        body = json.dumps(body_of(refusal, _NO_SCOPE)).encode()
        head = (
            f"HTTP/1.1 {refusal.status} {_PHRASES[refusal.status]}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {uuid.uuid4().hex}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)

    # Answers

    def _await_taking(self) -> None:
        if self._write_timer is None and (seconds := settings().write_timeout):
            self._write_timer = self.loop.call_later(seconds, self._not_taken)

    def _taken(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _not_taken(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


@cache
def bounded(protocol: type[asyncio.Protocol]) -> type[asyncio.Protocol]:
    """uvicorn's class of a connection with the bounds above; a class that has them already as it is."""
    return protocol if issubclass(protocol, Bounded) else type(f"Bounded{protocol.__name__}", (Bounded, protocol), {})
