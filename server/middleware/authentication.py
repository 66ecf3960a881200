"""Asks for a key on every path but those of probes.

The path that is compared is the very one that Starlette routes by: without the root path, decoded once. What is not
exactly on the list needs a key, so a second slash, other letters or a dot segment open nothing.
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import Final

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors.refusal import Refusal
from ..keys.current import use_key
from ..keys.ring import KeyRing
from ..playground import PATH as PLAYGROUND
from ..request.document import KEY_NAME
from .refusing import refuse

PROBES: Final = frozenset({"/health", "/livez", "/readyz", "/ping"})
"""Open to everyone, by GET and HEAD: they say whether the server is well and nothing else."""

METRICS: Final = "/metrics"

MISSING: Final = Refusal(
    401,
    "invalid_api_key",
    "this server asks for an API key: send `Authorization: Bearer KEY` or `x-api-key: KEY`",
    headers={"www-authenticate": 'Bearer realm="sppruner"'},
)
FOR_PAGE: Final = Refusal(
    401,
    "invalid_api_key",
    "this page asks for an API key: give it as the password, with any user name",
    headers={"www-authenticate": 'Basic realm="sppruner playground: any name, an API key as the password"'},
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
        page = is_page(scope)
        presented, typed = presented_keys(scope), typed_keys(scope) if page else []
        if presented is None or len({*typed}) > 1:
            await refuse(SEVERAL, scope, receive, send)
            return
        presented += typed
        key = self._ring.find(presented)
        if key is None:
            missing = FOR_PAGE if page else MISSING
            await refuse(WRONG if presented and not page else missing, scope, receive, send)
            return
        use_key(key)
        scope.setdefault("state", {})[KEY_NAME] = key.name
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and get_route_path(scope) in self._open


def is_page(scope: Scope) -> bool:
    """Whether a browser asks for the playground's page or a part of it: by a URL, to which it can add no header."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    path = get_route_path(scope)
    return path == PLAYGROUND or path.startswith(f"{PLAYGROUND}/")


def typed_keys(scope: Scope) -> list[bytes]:
    """What was typed into a browser's own question for a password.

    On the page alone: a browser sends it along with whatever another site has it ask for, which must never reach the
    API.
    """
    found: list[bytes] = []
    for name, value in scope["headers"]:
        scheme, _, packed = value.partition(b" ")
        if name == b"authorization" and scheme.lower() == b"basic":
            with suppress(ValueError):
                found.append(b64decode(packed.strip(), validate=True).partition(b":")[2])
    return [secret for secret in found if secret]


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
