"""Asks for a key on every path but those of probes.

The path that is compared is the very one that Starlette routes by: without the root path, decoded once. What is not
exactly on the list needs a key, so a second slash, other letters or a dot segment open nothing.
"""

from __future__ import annotations

from typing import Final

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from ..keys.current import use_key
from ..keys.ring import KeyRing
from .refusing import refuse

PROBES: Final = frozenset({"/health", "/livez", "/readyz", "/ping"})
"""Open to everyone, by GET and HEAD: they say whether the server is well and nothing else."""

METRICS: Final = "/metrics"
KEY_NAME: Final = "key_name"
"""Key of scope["state"] under which the name of the request's key travels."""

MISSING: Final = Refusal(
    401,
    "invalid_api_key",
    "this server asks for an API key: send `Authorization: Bearer KEY` or `x-api-key: KEY`",
    headers={"www-authenticate": 'Bearer realm="sppruner"'},
)
WRONG: Final = Refusal(
    401,
    "invalid_api_key",
    "the API key is not known to this server",
    headers={"www-authenticate": 'Bearer realm="sppruner", error="invalid_token"'},
)

SEVERAL: Final = Refusal(
    401,
    "invalid_api_key",
    "one header names several API keys: send one",
    headers={"www-authenticate": 'Bearer realm="sppruner", error="invalid_request"'},
)


class AuthenticationMiddleware:
    """Pure ASGI, for HTTP and WebSockets."""

    def __init__(self, app: ASGIApp, ring: KeyRing, open_metrics: bool) -> None:
        self._app = app
        self._ring = ring
        self._open = PROBES | {METRICS} if open_metrics else PROBES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        presented = presented_keys(scope)
        if presented is None:
            await refuse(SEVERAL, scope, receive, send)
            return
        key = self._ring.find(presented)
        if key is None:
            await refuse(WRONG if presented else MISSING, scope, receive, send)
            return
        use_key(key)
        scope.setdefault("state", {})[KEY_NAME] = key.name
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and get_route_path(scope) in self._open


def presented_keys(scope: Scope) -> list[bytes] | None:
    """What a request presents as a key: as a bearer token, and as Anthropic's clients send it.

    None where one of the two headers is there again with another key: whoever stands in front of this server may have
    looked at either.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        secret = b""
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            secret = token.strip() if scheme.lower() == b"bearer" else b""
        elif name == b"x-api-key":
            secret = value.strip()
        if secret and found.setdefault(name, secret) != secret:
            return None
    return list(found.values())
