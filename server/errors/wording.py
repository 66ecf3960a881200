"""Codes and words for what vLLM says in a sentence of its own: its errors carry no code.

The sentences are those of vLLM 0.32 and 0.33; one that is not known is `invalid_value`, which is never wrong.
"""

from __future__ import annotations

import re
from typing import Final

from vllm.entrypoints.serve.exception_handling.utils import sanitize_message

_CODES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"The model `.*` does not exist"), "model_not_found"),
    (re.compile(r"maximum context length|exceeds model's maximum|longer than the maximum"), "context_length_exceeded"),
    (re.compile(r"JSON decode error"), "invalid_json"),
    (re.compile(r"Unsupported Media Type"), "unsupported_media_type"),
    (re.compile(r"Response with id .* not found"), "not_found"),
)

_VALUES: Final = re.compile(r" \((?:parameter|value)=.*\)$", re.DOTALL)
"""What vLLM's exceptions add to their own text; the answer has `param` for it."""

_NO_MESSAGES: Final = "Cannot apply chat template to an empty conversation"
_FIRST_WORD: Final = re.compile(r"[`'\"]?([a-z_]+)")

_NAMES: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("/v1/responses", {"input_tokens": "input", "max_tokens": "max_output_tokens", "response_format": "text"}),
    (
        "/v1/messages",
        {"input_tokens": "messages", "max_completion_tokens": "max_tokens", "response_format": "output_config"},
    ),
    ("/v1/completions", {"input_tokens": "prompt"}),
    ("", {"input_tokens": "messages"}),
)
"""What vLLM calls a field after it has made a chat completion of the request, and what the client called it."""


def code_of(status: int, message: str, param: str | None) -> str:
    """The code of a client's fault that vLLM describes.

    Args:
        status: 400, 404 or 422, as vLLM answered.
        message: its sentence.
        param: the field it names.
    """
    for pattern, code in _CODES:
        if pattern.search(message):
            return code
    if status == 404:
        return "model_not_found" if param == "model" else "not_found"
    return "invalid_value"


def field_of(param: object, path: str) -> str | None:
    """The field of the request that vLLM's name for it stands for; None for no name."""
    if not isinstance(param, str) or not param:
        return None
    names = next(names for prefix, names in _NAMES if path.startswith(prefix))
    return names.get(param, param)


def field_named(message: str, document: object) -> str | None:
    """The field that a sentence begins with, as in "n must be at least 1", if the request has it, or means."""
    if message.startswith(_NO_MESSAGES):
        return "messages"
    first = _FIRST_WORD.match(message)
    return first[1] if first is not None and isinstance(document, dict) and first[1] in document else None


def too_large(document: object) -> str | None:
    """The first field with a number that no 64 bits hold, over which a library stumbles without a word."""
    fields = document.items() if isinstance(document, dict) else ()
    return next((name for name, value in fields if isinstance(value, int) and not -(2**63) <= value < 2**63), None)


def sanitised(message: object) -> str:
    """A sentence of vLLM's without paths and addresses, and without the values it quotes behind it."""
    try:
        said = str(message)
    except Exception:  # some of what libraries raise cannot tell itself; no words are the answer then
        return ""
    return _VALUES.sub("", str(sanitize_message(said)))
