"""How a middleware refuses: counted under its code, and answered as every other error."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from sppruner_vllm.metrics.events import count_rejection

from ..errors.refusal import Refusal, answer
from ..errors.sockets import answer_opening


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the opening of a WebSocket, with a refusal; nothing behind the middleware sees it."""
    count_rejection(refusal.code)
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        await answer_opening(refusal, scope, receive, send)
    else:
        await answer(refusal, scope, receive, send)
