"""What probes ask: is the process alive, should it get requests.

/livez fails when a restart is what helps. /readyz and /health fail as soon as no new request would be served; the
middleware answers them while the server stops. HEAD is for middleware/head.py.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ..errors.ended import ENGINE_DEAD
from ..errors.refusal import body_of

router: Final = APIRouter()


@router.get("/livez", response_class=Response)
async def livez(raw_request: Request) -> Response:
    """Whether this process works: 200 while it serves and while it drains, an error once its engine has died."""
    return _of_engine(raw_request)


@router.get("/readyz", response_class=Response)
async def readyz(raw_request: Request) -> Response:
    """Whether it should get requests: 503 while it stops."""
    return _of_engine(raw_request)


@router.get("/health", response_class=Response)
async def health(raw_request: Request) -> Response:
    """The same as /readyz, under the name that vLLM has for it."""
    return _of_engine(raw_request)


def _of_engine(raw_request: Request) -> Response:
    if raw_request.app.state.engine_client.errored:
        return JSONResponse(body_of(ENGINE_DEAD, raw_request.scope), ENGINE_DEAD.status)
    return Response(status_code=200)
