"""How a middleware refuses: counted under its code, and answered as every other error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from sppruner_vllm.metrics.events import count_rejection

from ..errors.refusal import Refusal, answer


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the opening of a WebSocket, with a refusal; nothing behind the middleware sees it."""
    count_rejection(refusal.code)
    if scope["type"] == "websocket":
        await _refuse_socket(refusal, scope, receive, send)
    else:
        await answer(refusal, scope, receive, send)


async def _refuse_socket(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """The same answer in place of the handshake; servers that cannot send one close with a 403."""
    await receive()  # websocket.connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return

    async def send_instead(message: Mapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await answer(refusal, {**scope, "method": "GET"}, receive, send_instead)
