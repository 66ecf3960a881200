"""WebSockets that are not opened: answered in our vocabulary, where the server in front can send an answer in place of
the handshake.

It would else send a bare 403 for a path that is none, and plain text for a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .handlers import judged
from .refusal import Refusal, answer

_ANSWERS: Final = "websocket.http.response"
"""The extension of ASGI by which a server says that it can."""

_BEGINNINGS: Final = ("websocket.accept", "websocket.http.response.start")


async def answer_opening(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a handshake; servers that cannot send an answer close with a 403."""
    if _ANSWERS not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return

    async def send_instead(message: Mapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await answer(refusal, _as_get(scope), receive, send_instead)


async def guard_opening(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application for one WebSocket, and answer what it does not open."""
    begun = False

    async def observe(message: Message) -> None:
        nonlocal begun
        if message["type"] == "websocket.close" and not begun:
            begun = True
            await answer_opening(_refusal_of(scope), scope, receive, send)
        else:
            begun = begun or message["type"] in _BEGINNINGS
            await send(message)

    try:
        await app(scope, receive, observe)
    except Exception as exc:
        if begun:
            raise
        await answer_opening(judged(exc, _as_get(scope)), scope, receive, send)


def _refusal_of(scope: Scope) -> Refusal:
    """What an application means that closes before it has opened: no such route, or no such client."""
    if "endpoint" in scope:
        return Refusal(403, "permission_denied", "this WebSocket is not open to you")
    return Refusal(404, "unknown_url", f"{scope['path']} is not a WebSocket of this server")


def _as_get(scope: Scope) -> Scope:
    return {**scope, "method": "GET"}
