"""Gives every request an id: the client's own where it can be logged and sent back as it is, else a new one.

It stands in the answer's headers, in errors, in our logs, and, as vLLM takes it from the request's header, in the ids
of vLLM's answers and log lines.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors.refusal import REQUEST_ID, is_anthropic

HEADER: Final = b"x-request-id"
ANTHROPIC_HEADER: Final = b"request-id"
"""Where Anthropic's clients look for it."""

SANE: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


class RequestIdMiddleware:
    """Pure ASGI, for HTTP and WebSockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == HEADER]
        request_id = given[0] if len(given) == 1 and SANE.fullmatch(given[0]) else uuid.uuid4().hex.encode()
        kept = [(name, value) for name, value in scope["headers"] if name != HEADER]
        state = {**scope.get("state", {}), REQUEST_ID: request_id.decode()}
        named = {**scope, "headers": [*kept, (HEADER, request_id)], "state": state}

        async def send_named(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() not in _NAMES]
                message = {**message, "headers": [*others, *_headers(request_id, scope["path"])]}
            await send(message)

        await self._app(named, receive, send_named)


_NAMES: Final = (HEADER, ANTHROPIC_HEADER)


def _headers(request_id: bytes, path: str) -> list[tuple[bytes, bytes]]:
    named = [(HEADER, request_id)]
    return [*named, (ANTHROPIC_HEADER, request_id)] if is_anthropic(path) else named
