"""How a route of ours takes the place of vLLM's: declared like it, and given the document as it was read before."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from ..body.check import ReadRequest


class ReadRoute(APIRoute):
    """A route that takes the document as the guard has read it (body/check.py)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_read(request: Request) -> Response:
            return await handle(ReadRequest(request.scope, request.receive))

        return handle_read


def declared(upstream: APIRouter, path: str) -> dict[str, Any]:
    """What vLLM declares of a route, as arguments for the decorator of ours.

    Args:
        upstream: vLLM's router. path: of one of its POST routes.
    """
    route = next(r for r in upstream.routes if isinstance(r, APIRoute) and r.path == path and "POST" in r.methods)
    return {
        "path": path,
        "dependencies": route.dependencies,
        "responses": route.responses,
        # Since 0.33 these two carry the schema of the answer that is no stream.
        "response_model": route.response_model,
        "openapi_extra": route.openapi_extra,
    }
