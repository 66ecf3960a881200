"""How every refusal and every failure is answered: one vocabulary, in the shape of the API that was asked.

OpenAI's error object everywhere, Anthropic's for /v1/messages and what lies below it. A `Refusal` is made where the
fault is found; `answer` is all that knows the shapes. The codes stand in codes.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from .codes import CODES

MESSAGES_API: Final = "/v1/messages"
"""Anthropic's; every other path speaks OpenAI's."""

RESPONSES_API: Final = "/v1/responses"

REQUEST_ID: Final = "request_id"
"""Key of scope["state"] under which the request id travels, a string."""

LONGEST_MESSAGE: Final = 1000
"""Characters of a message: what a client sent may be quoted in it, and must not come back whole."""

OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""`type` by status; any other is `invalid_request_error`."""

ANTHROPIC_TYPES: Final = {
    **OPENAI_TYPES,
    404: "not_found_error",
    413: "request_too_large",
    500: "api_error",
}
"""The same in Anthropic's own closed list."""

INVALID_REQUEST: Final = "invalid_request_error"

DEFAULT_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {"www-authenticate": "Bearer"},
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}
"""What goes with a status unless the refusal says otherwise."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error.

    status: HTTP status, the one that CODES gives to the code.
    code: one of CODES.
    message: for a person; says what to change, and nothing of the server's files, network or libraries.
    param: the field or header to correct, as the client spelt it.
    headers: beside content type and length, lower case.

    Raises:
        ValueError: the code is not in the table, or stands there with another status.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in CODES or CODES[self.code].status != self.status:
            raise ValueError(f"{self.code} with status {self.status} is not in the table of error codes")


def body_of(refusal: Refusal, scope: Scope) -> dict[str, Any]:
    """The JSON document for the API that a request is for.

    Args:
        scope: of the request: its path chooses the shape, its state may hold the request id.
    """
    message = printable(refusal.message)
    if is_anthropic(scope["path"]):
        kind = ANTHROPIC_TYPES.get(refusal.status, INVALID_REQUEST)
        # `param` and `code` are no part of Anthropic's error, but its clients let them through.
        error = {"type": kind, "message": message, "param": refusal.param, "code": refusal.code}
        return {"type": "error", "error": error, "request_id": request_id_of(scope)}
    kind = OPENAI_TYPES.get(refusal.status, INVALID_REQUEST)
    return {"error": {"message": message, "type": kind, "param": refusal.param, "code": refusal.code}}


async def answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal as the whole response; an ASGI application but for its first argument."""
    body = dumped(body_of(refusal, scope))
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **DEFAULT_HEADERS.get(refusal.status, {}),
        **refusal.headers,
    }
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def event_of(refusal: Refusal, scope: Scope, number: int = 0) -> bytes:
    """The event that ends a stream in the API that a request is for, after its 200.

    Args:
        number: of the event in its stream, from 0, which the Responses API writes down.
    """
    document = body_of(refusal, scope)
    path = scope["path"]
    if is_anthropic(path):
        return b"event: error\ndata: " + dumped(document) + b"\n\n"
    if path.startswith(RESPONSES_API):
        # The documented event has its fields at the top. OpenAI's clients raise what they find in `error`.
        flat = {name: document["error"][name] for name in ("code", "message", "param")}
        document = {"type": "error", **flat, "sequence_number": number, **document}
        return b"event: error\ndata: " + dumped(document) + b"\n\n"
    return b"data: " + dumped(document) + b"\n\n"


def dumped(document: object) -> bytes:
    """JSON as it is sent."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def is_anthropic(path: str) -> bool:
    """Whether a path belongs to Anthropic's API."""
    return path == MESSAGES_API or path.startswith(MESSAGES_API + "/")


def request_id_of(scope: Scope) -> str | None:
    """The id of a request; None where no middleware has given it one."""
    found = scope.get("state", {}).get(REQUEST_ID)
    return found if isinstance(found, str) else None


def printable(message: str) -> str:
    """A message that can be sent: lone surrogates replaced, and not longer than LONGEST_MESSAGE."""
    shown = message.encode(errors="replace").decode()
    return shown if len(shown) <= LONGEST_MESSAGE else shown[: LONGEST_MESSAGE - 3] + "..."
