"""Answers HEAD wherever GET is answered, as HTTP asks for: probes and balancers like to ask so.

The server in front (uvicorn) leaves out the body, since it still sees a HEAD.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadMiddleware:
    """Pure ASGI; vLLM's routes know GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
