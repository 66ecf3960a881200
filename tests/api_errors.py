"""Errors as every API of the server tells them, for the tests of whatever answers in its place."""

from __future__ import annotations

import json
from typing import Any

from sppruner_server.errors.codes import CODES
from sppruner_server.errors.refusal import ANTHROPIC_TYPES, INVALID_REQUEST, MESSAGES_API, OPENAI_TYPES


def error_in(path: str, status: int, content: bytes) -> dict[str, Any]:
    """The error object of an answer, which has the shape and the words of the API at that path."""
    body = json.loads(content)
    error: dict[str, Any] = body["error"]
    assert CODES[error["code"]].status == status
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    if path.startswith(MESSAGES_API):
        assert body.keys() == {"type", "error", "request_id"}
        assert body["type"] == "error"
        assert body["request_id"]
        assert error["type"] == ANTHROPIC_TYPES.get(status, INVALID_REQUEST)
    else:
        assert body.keys() == {"error"}
        assert error["type"] == OPENAI_TYPES.get(status, INVALID_REQUEST)
    return error
