"""Settles each request to our routes once, by what goes out on the wire: counters, and what a refusal must undo.

A route class rather than a middleware: exception handlers run inside a route's own ASGI app, so the status seen here is
the final one, and requests to other routes are not touched.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from sppruner_vllm.metrics.events import count_rejection, count_request, count_visual_tokens, in_flight
from sppruner_vllm.metrics.labels import Outcome

from ..body.check import BodyCheck
from ..errors.codes import CODES
from ..errors.guard import Guard
from ..request.record import RequestRecord, recording
from ..tracing import note_outcome, request_span
from .replacing import ReadRoute

_REFUSED: Final[tuple[Outcome, ...]] = ("client_error", "server_error")
_ERROR_EVENTS: Final = (b'data: {"error"', b"event: error", b"event: response.failed")


class RecordedRoute(ReadRoute):
    """A route that keeps a RequestRecord while it serves, and settles it by the answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = Guard(BodyCheck(self.app))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self.methods:
            await super().handle(scope, receive, send)  # which refuses it
            return
        status, ends, complete, left = 0, False, False, False

        async def listen() -> Message:
            nonlocal left
            message = await receive()
            # Behind an answer the same message says that nothing more is to be read.
            left = left or (message["type"] == "http.disconnect" and not ends)
            return message

        async def observe(message: Message) -> None:
            nonlocal status, ends, complete
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                record.outcome = outcome_of_event(message.get("body", b"")) or record.outcome
            if status >= 400 or record.outcome in _REFUSED:
                record.withdraw()  # first: the client may send the image again as soon as it has the answer
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)
            complete = ends

        with recording() as record, in_flight(), request_span(scope, self.path) as span:
            try:
                await super().handle(scope, listen, observe)
            except (ClientDisconnect, OSError):
                record.outcome = "client_disconnect"
                raise
            except Exception:
                record.outcome = "server_error"
                record.withdraw()
                raise
            finally:
                outcome = record.outcome or outcome_of(status, complete)
                if left and outcome == "server_error":
                    outcome = "client_disconnect"  # nobody got that answer, and what is left by its client may break
                _count(record, outcome)
                note_outcome(span, outcome)
                if outcome == "success":
                    for follow in record.afterwards:
                        follow()


def _count(record: RequestRecord, outcome: Outcome) -> None:
    """Visual tokens count for what the engine worked on, also when the client did not wait for it."""
    if outcome not in _REFUSED and not record.dry and (tokens := record.visual_tokens) is not None:
        count_visual_tokens(tokens)
    if outcome == "client_error":
        count_rejection(record.refused_as)
    count_request(outcome)


def outcome_of(status: int, complete: bool) -> Outcome:
    """The outcome that an HTTP status stands for; an answer that was cut short means that the client left.

    Args:
        status: HTTP status sent, 0 for none.
        complete: whether the last byte of the body was sent.
    """
    if not complete:
        return "client_disconnect"
    if status >= 500:
        return "server_error"
    return "client_error" if status >= 400 else "success"


def outcome_of_event(event: bytes) -> Outcome | None:
    """The outcome that an error event inside a stream stands for; None for any other event."""
    if not event.startswith(_ERROR_EVENTS):
        return None
    _, _, data = bytes(event).partition(b"data:")
    try:
        code = json.JSONDecoder().raw_decode(data.decode().strip())[0]["error"]["code"]
        status = CODES[code].status
    except (ValueError, KeyError, TypeError):
        return "server_error"
    return "client_error" if status < 500 else "server_error"
