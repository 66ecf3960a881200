"""Puts `Retry-After` on every 429 and 503 that has none, vLLM's own among them: clients would try again at once."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_AFTER: Final = b"retry-after"
SECONDS: Final = b"1"
_STATUSES: Final = (429, 503)


class RetryAfterMiddleware:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_hint(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _STATUSES:
                headers = list(message.get("headers", ()))
                if all(name.lower() != RETRY_AFTER for name, _ in headers):
                    message = {**message, "headers": [*headers, (RETRY_AFTER, SECONDS)]}
            await send(message)

        await self._app(scope, receive, send_with_hint)
