"""One line per request, in JSON: what was asked and what came of it, with the request's id and the name of its key.

Nothing of a body is in it, neither the client's nor the answer's, and of the address only the path: a query may hold
what is secret.
"""

from __future__ import annotations

import json
import logging
import logging.config
import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import headers
from ..errors.refusal import request_id_of
from ..request.document import KEY_NAME

LOGGER: Final = "sppruner.access"
LONGEST_PATH: Final = 256

_NUMBERS: Final = {
    headers.ORIGINAL: "visual_tokens_original",
    headers.RETAINED: "visual_tokens_retained",
    headers.KEEP_RATIO: "keep_ratio",
}


class AccessLogMiddleware:
    """Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = access_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        line: dict[str, Any] = {"status": 0, "bytes_in": 0, "bytes_out": 0}
        began = time.monotonic()

        async def counted_receive() -> Message:
            message = await receive()
            line["bytes_in"] += len(message.get("body", b""))
            return message

        async def noted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
                line["first_byte_seconds"] = round(time.monotonic() - began, 6)
                line.update(_visual_tokens(message))
            else:
                line["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, noted_send)
        finally:
            line["seconds"] = round(time.monotonic() - began, 6)
            self._log.info(json.dumps({**_head(scope), **line}))


def _head(scope: Scope) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "timestamp": time.time(),
        "level": "INFO",
        "logger": LOGGER,
        "request_id": request_id_of(scope),
        "key": scope.get("state", {}).get(KEY_NAME),
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"][:LONGEST_PATH],
    }


def _visual_tokens(message: Message) -> dict[str, float]:
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in message.get("headers", ())}
    return {field: float(sent[name]) for name, field in _NUMBERS.items() if name in sent}


def access_logger() -> logging.Logger:
    """The logger of these lines, which go to standard output as they are."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"sppruner_plain": {"format": "%(message)s"}},
            "handlers": {
                "sppruner_access": {
                    "class": "logging.StreamHandler",
                    "formatter": "sppruner_plain",
                    "stream": "ext://sys.stdout",
                }
            },
            "loggers": {LOGGER: {"handlers": ["sppruner_access"], "level": "INFO", "propagate": False}},
        }
    )
    return logging.getLogger(LOGGER)
