"""Completes the answers of vLLM's routes: headers and usage.

The response objects of vLLM are changed in place, so that their status, background tasks and headers stay.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from fastapi.responses import JSONResponse, Response, StreamingResponse

from sppruner_vllm.compat.versions import is_client_gone

from ..headers import headers_of
from ..request.record import RequestRecord
from .selection import is_last, settle
from .usage import (
    Annotate,
    annotate_chat,
    annotate_chat_event,
    annotate_response,
    annotate_response_event,
    annotate_sse,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the answers of one endpoint carry usage.

    body: for the JSON body. event: for the events of a stream.
    """

    body: Annotate
    event: Annotate


CHAT = Usage(annotate_chat, annotate_chat_event)
RESPONSES = Usage(annotate_response, annotate_response_event)
NO_USAGE = Usage(lambda *_: False, lambda *_: False)


def complete(response: Response | None, record: RequestRecord, usage: Usage) -> Response | None:
    """Add to vLLM's response what the record says.

    Args:
        response: what vLLM's route returned; something empty when the client left before the answer.
        record: of this request, filled by now: vLLM renders the prompt before it returns any response.
        usage: where this endpoint's answers carry usage.
    """
    if response is None or is_client_gone(response):
        record.outcome = "client_disconnect"
        return response
    if record.visual_tokens is not None and response.status_code < 400:
        response.headers.update(headers_of(record.visual_tokens))
    if isinstance(response, StreamingResponse):
        response.body_iterator = _watched(response.body_iterator, record, usage.event)
    elif isinstance(response, JSONResponse):
        _complete_body(response, record, usage.body)
    return response


def _complete_body(response: JSONResponse, record: RequestRecord, annotate: Annotate) -> None:
    if record.visual_tokens is None or response.status_code >= 400:
        return
    content = json.loads(bytes(response.body))
    if annotate(content, record):
        response.body = response.render(content)
        response.headers["content-length"] = str(len(response.body))


async def _watched(
    body: AsyncIterable[str | bytes | memoryview], record: RequestRecord, annotate: Annotate
) -> AsyncIterator[str | bytes | memoryview]:
    """The stream itself, its usage completed."""
    try:
        async for chunk in body:
            if isinstance(chunk, memoryview):
                chunk = bytes(chunk)
            if record.telling is not None and record.selection is None and is_last(chunk):
                await settle(record, "answer")
            yield chunk if record.visual_tokens is None else annotate_sse(chunk, record, annotate)
    finally:
        # Closed here and not by the garbage collector: a client that leaves must free its engine slot at once.
        if (close := getattr(body, "aclose", None)) is not None:
            await close()
