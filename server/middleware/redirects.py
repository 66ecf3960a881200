"""Redirects lead to a path, not to a URL: where a slash is too many, Starlette makes one of the `Host` that was sent
and of the scheme that this process sees, which behind a proxy is another than the client's.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAME_METHOD: Final = 307
"""The status of those redirects."""


class RedirectsMiddleware:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_path(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == SAME_METHOD:
                headers = MutableHeaders(raw=list(message["headers"]))
                if "location" in headers:
                    _, _, path, query, fragment = urlsplit(headers["location"])
                    headers["location"] = urlunsplit(("", "", "/" + path.lstrip("/"), query, fragment))
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, send_path if scope["type"] == "http" else send)
