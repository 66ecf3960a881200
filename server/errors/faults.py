"""What an exception is answered with: the client's fault or the server's, and in which words.

Until the engine has taken the request all that happens is reading what the client sent, so whatever goes wrong there is
the client's: vLLM, its libraries and the model's processor raise every class of exception on bad values. Only what
cannot come from a value stays a server error: a full disk, no memory, an engine that is gone.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from http import HTTPStatus
from typing import Final

from fastapi.exceptions import RequestValidationError
from jinja2 import TemplateError
from starlette.exceptions import HTTPException
from starlette.types import Scope
from vllm.exceptions import (
    GracefulHTTPError,
    LoRAAdapterNotFoundError,
    RetryableRequestError,
    VLLMClientError,
    VLLMNotFoundError,
    VLLMServerError,
)
from vllm.v1.engine.exceptions import EngineDeadError

from sppruner_vllm.errors import InvalidField, ReductionError

from ..request.attempt import Attempt
from ..request.document import DOCUMENT
from .codes import CODES
from .ended import CUT_OFF, ENGINE_DEAD, CutOff
from .invalid_body import refusal_of_body, written
from .places import PROCESSOR_KWARGS
from .places import named as place_named
from .refusal import Refusal
from .routing import allowed_methods
from .wording import code_of, field_about, field_named, field_of, in_words_of, sanitised, too_large

UNREADABLE: Final = "the request cannot be read: a value has the wrong type, or is out of range"
FAULT: Final = "the server failed on this request"
UNPROCESSED: Final = "the model's processor cannot work with the values it is given"
BUSY: Final = "the server is busy; send the request again"

_PROCESSOR: Final = "Failed to apply "
"""How vLLM begins when it tells of a processor's failure: the rest quotes the pictures as Python objects."""

_MODALITIES: Final = {"image": "image_url", "video": "video_url", "audio": "audio_url"}
"""What vLLM names of a part that it takes none of, and the member that brings it."""

_TEMPLATES_OWN: Final = "chat_template_kwargs"
_PARTS_UNREAD: Final = re.compile(r"\d+ validation errors? for ")
"""What pydantic says of parts of a message, which it looks at when the prompt is made, as Python objects."""
_TOO_LATE: Final = "Caught handled exception, but response already started"
"""Of the RuntimeError that Starlette raises from what a stream raised."""

_LAST_WORDS: Final = ("cannot schedule new futures", "Event loop is closed", "Session is closed")
"""Of a RuntimeError that a server that stops raises, whatever the request."""


def refusal_of(exc: Exception, scope: Scope, attempt: Attempt) -> Refusal:
    """The answer to a request that ended in an exception.

    Args:
        exc: what was raised.
        scope: of the request.
        attempt: how far it had come.
    """
    if isinstance(exc, RuntimeError) and str(exc).startswith(_TOO_LATE) and isinstance(exc.__cause__, Exception):
        return refusal_of(exc.__cause__, scope, attempt)
    if isinstance(exc.__cause__, InvalidField):  # as the processor leaves (sppruner_vllm/api/refusing.py)
        return refusal_of(exc.__cause__, scope, attempt)
    match exc:
        case InvalidField():
            return refusal_of_field(exc, scope)
        case RequestValidationError():
            return refusal_of_body(exc)
        case HTTPException():
            return _refusal_of_http(exc, scope)
        case CutOff():
            return CUT_OFF
        case GracefulHTTPError() if exc.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
            return Refusal(503, "server_overloaded", BUSY)
        case RetryableRequestError():
            return Refusal(503, "server_overloaded", BUSY)
        case EngineDeadError():
            return ENGINE_DEAD
        case LoRAAdapterNotFoundError():
            return Refusal(404, "model_not_found", f"the model {exc} does not exist", "model")
        case VLLMNotFoundError():
            return Refusal(404, "not_found", sanitised(exc))
        case _ if is_clients(exc, attempt):
            return _refusal_of_value(exc, scope)
        case _:
            return Refusal(500, "internal_error", FAULT)


def is_clients(exc: Exception, attempt: Attempt) -> bool:
    """Whether the client can mend it by sending something else."""
    if isinstance(exc, VLLMClientError | InvalidField | GracefulHTTPError):
        return True
    return not attempt.accepted and not is_servers(exc)


def is_servers(exc: Exception) -> bool:
    """Whether no value that a client sends could have raised it."""
    if isinstance(exc, VLLMServerError | ReductionError | MemoryError | OSError | BrokenExecutor):
        return not isinstance(exc, InvalidField)
    if type(exc).__name__ in {"OutOfMemoryError", "AcceleratorError", "ZMQError"}:
        return True
    return isinstance(exc, RuntimeError) and str(exc).startswith(_LAST_WORDS)


def refusal_of_field(exc: InvalidField, scope: Scope) -> Refusal:
    """The 400 that names the field to correct, as the client of that API has spelt it."""
    code = exc.code if exc.code in CODES else "invalid_value"
    param = place_named(exc.field, exc.given, scope.get(DOCUMENT), scope["path"])
    return Refusal(CODES[code].status, code, str(exc), param)


def _refusal_of_value(exc: Exception, scope: Scope) -> Refusal:
    """What vLLM says on purpose is passed on; what a library stumbled over is not."""
    told = isinstance(exc, VLLMClientError | GracefulHTTPError | ValueError | TemplateError)
    message = (sanitised(exc) if told else "") or UNREADABLE
    named = getattr(exc, "parameter", None)
    if message.startswith(_PROCESSOR):
        message, named = UNPROCESSED, PROCESSOR_KWARGS
    named = _MODALITIES.get(str(named), named)
    document = scope.get(DOCUMENT)
    message = in_words_of(document, message)
    if _PARTS_UNREAD.match(message):
        message, named = UNREADABLE, "messages"
    param = field_about(message, document) or field_of(named, scope["path"]) or field_named(message, document)
    if param is None and _in_template(exc) and isinstance(document, dict) and document.get(_TEMPLATES_OWN):
        message, param = f"{_TEMPLATES_OWN}: the chat template cannot work with these values", _TEMPLATES_OWN
    if param is None and message == UNREADABLE:
        param = written(too_large(document))
    if param is not None:
        param = place_named(param, None, document, scope["path"])
    if isinstance(named, str) and param is not None and "[" not in param:
        message = re.sub(rf"\b{re.escape(named)}\b", param, message)
    code = code_of(400, message, param)
    return Refusal(CODES[code].status, code, message, param)


def _in_template(exc: Exception) -> bool:
    """Whether the model's chat template was at work when it was raised."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(exc.__traceback__))
    return any(name.split(".")[0] == "jinja2" or name.endswith(".hf") for name in modules)


_BY_STATUS: Final[Mapping[int, str]] = {
    401: "invalid_api_key",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
    500: "internal_error",
    503: "server_overloaded",
    504: "gateway_timeout",
}


def refusal_of_status(
    status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Refusal:
    """A refusal of which only a status and some words are known, as a library's.

    Args:
        status: of the answer, 400 or more; one that is not in the vocabulary becomes 400 or 500.
        message: what is said.
        param: the field, if any is named.
        headers: to keep.
    """
    known = _BY_STATUS.get(status, "invalid_value" if status < 500 else "internal_error")
    code = code_of(status, message, param) if status in {400, 404, 422} else known
    return Refusal(CODES[code].status, code, message, param, headers or {})


def _refusal_of_http(exc: HTTPException, scope: Scope) -> Refusal:
    route = f"{scope['method']} {scope['path']}"
    if exc.status_code == HTTPStatus.NOT_FOUND and exc.detail == HTTPStatus.NOT_FOUND.phrase:
        return Refusal(404, "unknown_url", f"{route} is not a route of this server")
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(allowed_methods(scope))
        message = f"{route}: only {allowed} may be used here"
        return Refusal(405, "method_not_allowed", message, headers={"allow": allowed})
    return refusal_of_status(exc.status_code, sanitised(exc.detail), headers=exc.headers)
