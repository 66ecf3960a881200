"""Lets /metrics be read and nothing else: vLLM mounts an application there that answers whatever the method."""

from __future__ import annotations

from typing import Final

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from .authentication import METRICS
from .refusing import refuse

READING: Final = ("GET", "HEAD")
_REFUSAL: Final = Refusal(405, "method_not_allowed", "metrics can only be read", headers={"allow": "GET, HEAD"})


class MetricsMethodsMiddleware:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _asks_for_more(scope) and _is_metrics(get_route_path(scope)):
            await refuse(_REFUSAL, scope, receive, send)
            return
        await self._app(scope, receive, send)


def _asks_for_more(scope: Scope) -> bool:
    return scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in READING)


def _is_metrics(path: str) -> bool:
    return path == METRICS or path.startswith(METRICS + "/")
