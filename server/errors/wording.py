"""Codes and words for what vLLM says in a sentence of its own: its errors carry no code.

The sentences are those of vLLM 0.32 and 0.33; one that is not known is `invalid_value`, which is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from vllm.entrypoints.serve.exception_handling.utils import sanitize_message

_CODES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"The model `.*` does not exist"), "model_not_found"),
    (re.compile(r"maximum context length|exceeds model's maximum|longer than the maximum"), "context_length_exceeded"),
    (re.compile(r"JSON decode error"), "invalid_json"),
    (re.compile(r"Unsupported Media Type"), "unsupported_media_type"),
    (re.compile(r"Response with id .* not found|Unknown response_id"), "not_found"),
)

_VALUES: Final = re.compile(r" \((?:parameter|value)=.*\)$", re.DOTALL)
"""What vLLM's exceptions add to their own text; the answer has `param` for it."""

_LONGEST: Final = 4096
"""Letters of a sentence that are looked at: vLLM quotes all of a million tokens that are none of its model's."""

_NO_MESSAGES: Final = "Cannot apply chat template to an empty conversation"
_GRAMMARS: Final = ("structured_outputs", "response_format", "text", "output_config", "tools")
_ABOUT: Final[tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = (
    (re.compile(r"stop cannot contain"), ("stop", "stop_sequences")),
    (re.compile(r"The tool with name|Tool choice '|Forced tool choice must|tool_choice="), ("tool_choice",)),
    (re.compile(r'"auto" tool choice requires'), ("tool_choice", "tools")),
    (re.compile(r"The model `.*` does not exist"), ("model",)),
    (re.compile(r"continue_final_message is set"), ("continue_final_message", "messages")),
    (re.compile(r"thinking_token_budget is set"), ("thinking_token_budget", "thinking")),
    (re.compile(r"Chat template is passed with request"), ("chat_template", "chat_template_kwargs")),
    (re.compile(r"Token id -?\d+ is out of vocabulary|You must pass at least one prompt"), ("prompt", "tokens")),
    (re.compile(r"Requested sample logprobs"), ("top_logprobs", "logprobs")),
    (re.compile(r"n: "), ("n",)),
    (re.compile(r"extra_args "), ("vllm_xargs",)),
    (re.compile(r"The decoder prompt cannot be empty"), ("truncate_prompt_tokens", "prompt", "input", "messages")),
    (re.compile(r"(?i).*(?:\bgrammar|\bregex|\bchoice '|structured outputs?\b|json schema)"), _GRAMMARS),
    (re.compile(r"Invalid structural tag"), ("structured_outputs", "tools", "response_format", "text")),
    (re.compile(r"max_pattern_size, |min_count must be"), ("repetition_detection",)),
)
"""Sentences that begin so, and the fields that they may be about, of which the first that is there counts. vLLM calls
whatever an answer has to follow by one name, or by none."""
_LOGPROBS: Final = re.compile(r"Requested sample logprobs of \d+, which is greater than max allowed: (\d+)")
"""A beam search asks the engine for two of each beam."""
_RANK: Final = "data_parallel_rank "
"""What a header asks for."""
_DOTTED: Final = re.compile(r"([a-z_]+)(?:\.[a-z_]+)+(?= )")
_FIRST_WORD: Final = re.compile(r"[`'\"]?([a-z_]+)")

_NAMES: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("/v1/responses/", {}),
    (
        "/v1/responses",
        {
            "input_tokens": "input",
            "input_text": "input",
            "max_tokens": "max_output_tokens",
            "response_format": "text",
            "response_id": "previous_response_id",
        },
    ),
    (
        "/v1/messages",
        {
            "input_tokens": "messages",
            "input_text": "messages",
            "max_completion_tokens": "max_tokens",
            "response_format": "output_config",
        },
    ),
    ("/v1/completions", {"input_tokens": "prompt", "input_text": "prompt"}),
    ("", {"input_tokens": "messages", "input_text": "messages"}),
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
    if not isinstance(document, dict):
        return None
    if (about := field_about(message, document)) is not None:
        return about
    if (dotted := _DOTTED.match(message)) is not None and dotted[1] in document:
        return dotted[0]
    first = _FIRST_WORD.match(message)
    return first[1] if first is not None and first[1] in document else None


def field_about(message: str, document: object) -> str | None:
    """The field of the request that a sentence of vLLM's is about, whatever it calls it; None for other sentences."""
    if message.startswith(_RANK):
        return "x-data-parallel-rank"
    given = {name for name, value in document.items() if value is not None} if isinstance(document, dict) else set()
    for begins, fields in _ABOUT:
        if begins.match(message):
            return next((name for name in fields if name in given), None)
    return None


def in_words_of(document: object, message: str) -> str:
    """A sentence of vLLM's that is about what it made of a request, said about what the request has."""
    found = _LOGPROBS.match(message)
    if found is None or not isinstance(document, dict) or not document.get("use_beam_search"):
        return message
    return f"n: a beam search may have {int(found[1]) // 2} beams here"


def too_large(document: object) -> Sequence[str | int]:
    """The place of the first number that no 64 bits hold, over which a library stumbles without a word; else empty."""
    return next(_too_large(document, ()), ())


def _too_large(node: object, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict | list):
        for step, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _too_large(value, (*place, step))
    elif isinstance(node, int) and not -(2**63) <= node < 2**63:
        yield place


def sanitised(message: object) -> str:
    """A sentence of vLLM's without paths and addresses, and without the values it quotes behind it."""
    try:
        said = str(message)
    except Exception:  # some of what libraries raise cannot tell itself; no words are the answer then
        return ""
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]})"  # which closes what is added, if that has begun
    return _VALUES.sub("", str(sanitize_message(said)))
