"""Refuses requests whose head HTTP does not allow and uvicorn's parser lets through: another version than 1.0 and 1.1,
and anything but one `Host` that can be one.

A proxy in front and this server might else each take another of two hosts for the one that is meant.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from .refusing import refuse

VERSION: Final = Refusal(400, "invalid_http", "this server speaks HTTP/1.1 and HTTP/1.0")
HOST: Final = Refusal(400, "invalid_http", "a request has one Host header, with a host and perhaps a port", "host")

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")


class HostMiddleware:
    """Pure ASGI, for HTTP alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["http_version"] not in ("1.0", "1.1"):
            await refuse(VERSION, scope, receive, send)
        elif not _is_sound([value for name, value in scope["headers"] if name == b"host"], scope["http_version"]):
            await refuse(HOST, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_sound(hosts: list[bytes], version: str) -> bool:
    if not hosts:
        return version == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None
