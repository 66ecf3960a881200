"""Bounds the connections of the server that runs the app, as soon as there is one: at the app's start."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from ..hooks import bound_connections


class ConnectionsMiddleware:
    """Pure ASGI; every request passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Ray Serve runs vLLM's app in a server of its own.
        if scope["type"] == "lifespan" and (server := getattr(scope["app"].state, "server", None)) is not None:
            bound_connections(server)
        await self._app(scope, receive, send)
