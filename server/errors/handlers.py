"""What the app does with an exception of a route: answers it in our vocabulary, in place of vLLM's own handlers."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Scope
from vllm.exceptions import VLLMError, VLLMServerError
from vllm.logger import init_logger

from ..request.attempt import Attempt, current_attempt
from .faults import refusal_of
from .refusal import Refusal, answer

HANDLED: Final[tuple[type[Exception], ...]] = (
    StarletteHTTPException,
    HTTPException,
    RequestValidationError,
    VLLMError,
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
)
"""What vLLM has handlers for (0.32 and 0.33, entrypoints/serve/exception_handling/register.py), and Starlette's own.

Anything else goes up to the guard.
"""

logger = init_logger("vllm.sppruner.errors")


def answer_exceptions(app: FastAPI) -> None:
    """Answer in our vocabulary what the app has a handler for; to be called after vLLM has registered its own."""
    engine_failed: Any = app.exception_handlers.get(VLLMError)

    async def handle(request: Request, exc: Exception) -> Any:
        if isinstance(exc, VLLMServerError) and engine_failed is not None:
            await engine_failed(request, exc)  # which stops a server whose engine is gone
        return partial(answer, judged(exc, request.scope))

    for kind in HANDLED:
        app.add_exception_handler(kind, handle)


def judged(exc: Exception, scope: Scope) -> Refusal:
    """The refusal that an exception of the current request comes to; a fault of the server's is logged."""
    refusal = refusal_of(exc, scope, current_attempt() or Attempt())
    log = logger.error if refusal.status >= 500 else logger.debug
    log("%s %s: %s", scope["method"], scope["path"], refusal.code, exc_info=exc)
    return refusal
