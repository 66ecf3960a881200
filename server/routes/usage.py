"""Adds `visual_tokens` to the usage of vLLM's answers: a JSON body, or the last event of a stream.

Works on what vLLM's routes send, not on how they make it. Of a stream, only events that carry a usage object are
parsed; all others pass through as the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, Protocol

FIELD: Final = "visual_tokens"


class Account(Protocol):
    """Of a request's images and videos."""

    def as_usage(self) -> dict[str, Any]: ...


Annotate = Callable[[dict[str, Any], Account], bool]
"""Adds the account to one JSON document in place; False when the document has no usage to add it to."""

_HAS_USAGE: Final = re.compile(r'"usage":\s*\{')
_FINAL_EVENTS: Final = frozenset({"response.completed", "response.incomplete"})


def annotate_chat(body: dict[str, Any], tokens: Account) -> bool:
    """A chat completion: `usage.prompt_tokens_details.visual_tokens`."""
    return _annotate(body, "prompt_tokens_details", tokens)


def annotate_chat_event(event: dict[str, Any], tokens: Account) -> bool:
    """The final usage chunk of a chat stream, the one without choices; running counts stay as they are."""
    return event.get("choices") == [] and annotate_chat(event, tokens)


def annotate_response(body: dict[str, Any], tokens: Account) -> bool:
    """A response: `usage.input_tokens_details.visual_tokens`."""
    return _annotate(body, "input_tokens_details", tokens)


def annotate_response_event(event: dict[str, Any], tokens: Account) -> bool:
    """The event that ends a response's stream."""
    return event.get("type") in _FINAL_EVENTS and annotate_response(event["response"], tokens)


def _annotate(body: dict[str, Any], details: str, tokens: Account) -> bool:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return False
    usage[details] = {**(usage.get(details) or {}), FIELD: tokens.as_usage()}
    return True


def annotate_sse(chunk: str | bytes, tokens: Account, annotate: Annotate) -> str | bytes:
    """One piece of a server-sent-event stream, with the account added to the events that `annotate` takes.

    Args:
        chunk: whole events, as vLLM yields them; the same type is returned.
        tokens: the account of the request.
        annotate: for the events of this endpoint.
    """
    text = chunk.decode() if isinstance(chunk, bytes) else chunk
    if not _HAS_USAGE.search(text):
        return chunk
    lines = [_annotate_line(line, tokens, annotate) for line in text.split("\n")]
    rewritten = "\n".join(lines)
    return rewritten.encode() if isinstance(chunk, bytes) else rewritten


def _annotate_line(line: str, tokens: Account, annotate: Annotate) -> str:
    if not (line.startswith("data:") and _HAS_USAGE.search(line)):
        return line
    try:
        document = json.loads(line.removeprefix("data:"))
    except json.JSONDecodeError:
        return line  # not ours to judge: the client gets what vLLM sent
    if not annotate(document, tokens):
        return line
    return "data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":"))
