"""Error bodies and events of vLLM, its middlewares and libraries, put into our vocabulary.

vLLM has a dozen: its own object with an integer code, Anthropic's with OpenAI's words, FastAPI's `detail`, a bare
string from its authentication (0.32 and 0.33). One of ours is left as it is, so that this may be done twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Scope

from ..request.document import DOCUMENT
from .codes import CODES
from .faults import FAULT, refusal_of_status
from .refusal import Refusal
from .wording import field_about, field_of, sanitised

UNAUTHORIZED: Final = "no API key was sent, or one that this server does not know"
_EVENTS: Final = (b'data: {"error"', b"event: error\n")


def refusal_of_answer(status: int, body: bytes, scope: Scope, headers: Mapping[str, str] | None = None) -> Refusal:
    """What an error answer says.

    Args:
        status: of the answer, 400 or more.
        body: whole.
        scope: of the request.
        headers: to keep.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = body.decode(errors="replace")[:200]
    error = _error_in(document)
    code, param = error.get("code"), error.get("param")
    param = param if isinstance(param, str) else None
    message = error.get("message")
    message = message if isinstance(message, str) and message else _words(status)
    if isinstance(code, str) and code in CODES:
        return Refusal(CODES[code].status, code, message, param, headers or {})
    if status == 401:
        message = UNAUTHORIZED
    elif status >= 500:
        message = _words(status)
    named = field_of(param, scope["path"]) or field_about(message, scope.get(DOCUMENT))
    return refusal_of_status(status, sanitised(message), named, headers)


def is_error_event(chunk: bytes) -> bool:
    """Whether a piece of an event stream begins with an error."""
    return chunk.startswith(_EVENTS)


def refusal_of_event(chunk: bytes, scope: Scope) -> Refusal:
    """What an error event says, whoever wrote it."""
    data = next((line[5:] for line in chunk.splitlines() if line.startswith(b"data:")), b"")
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    error = _error_in(document)
    code = error.get("code")
    if isinstance(code, str) and code in CODES:
        status = CODES[code].status
    else:
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return refusal_of_answer(status, data, scope)


def _error_in(document: Any) -> dict[str, Any]:
    """The part of an error document that has message, param and code."""
    if not isinstance(document, dict):
        return {"message": document}
    error = document.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error}
    return {**document, "message": document.get("message") or document.get("detail")}


def _words(status: int) -> str:
    return {500: FAULT, 503: "the server cannot take this request now"}.get(status, f"refused with status {status}")
