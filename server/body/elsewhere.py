"""Fields that another API of this server has: refused, where vLLM drops them and answers as if nobody had asked.

Who sends `max_tokens` to a response, `seed` to a message or `tools` to a batch gets another answer than was asked for,
and no word of it. What no API here has may be another server's, and is passed by (docs/use/api.md, "Request").
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from sppruner_vllm.request.fields import REQUEST_FIELDS

from ..errors.refusal import MESSAGES_API, RESPONSES_API, Refusal, is_anthropic
from .content.document import BATCH, CHAT, VISUAL_TOKENS
from .fields import INCLUDE
from .json_body import BadBody

COMPLETIONS: Final = "/v1/completions"
INVOCATIONS: Final = "/invocations"
"""vLLM takes it for the API whose body it is."""

_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    CHAT: ChatCompletionRequest,
    BATCH: BatchChatCompletionRequest,
    COMPLETIONS: CompletionRequest,
    RESPONSES_API: ResponsesRequest,
    MESSAGES_API: AnthropicMessagesRequest,
}

_NO_MATTER: Final = frozenset(
    {
        *REQUEST_FIELDS,
        # Who asks, what is kept of it and under which name.
        "user", "metadata", "store", "service_tier", "request_id", "session_id", "safety_identifier",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        # What changes nothing without a stream, or where an answer is made.
        "stream_options", "mm_payload", "return_mm_kwargs",
    }
)  # fmt: skip
"""Fields that change nothing of an answer, or that somebody else judges."""

_JUDGED: Final[Mapping[str, tuple[str, ...]]] = {COMPLETIONS: ("best_of",), CHAT: (INCLUDE,)}
"""Fields that are looked at elsewhere: where what is not served is (unserved.py), and by a route of ours."""

_NOTHING: Final[tuple[object, ...]] = ("", [], {}, {"type": "text"})
"""Values by which a field asks for nothing, beside null and its own default; the last is how answers are anyway."""

_CALLED: Final[Mapping[str, Mapping[str, str]]] = {
    RESPONSES_API: {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"},
    MESSAGES_API: {"stop": "stop_sequences", "max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"},
    COMPLETIONS: {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"},
    CHAT: {"max_output_tokens": "max_completion_tokens", "stop_sequences": "stop"},
}
"""By API, what a field is called there."""


def refuse_elsewhere(document: Any, path: str) -> None:
    """Refuse the first field that this API would drop and another one would honour.

    Args:
        document: that was read, good or not. path: of the request.

    Raises:
        BadBody: names the field.
    """
    if not isinstance(document, dict) or (api := _api(document, path)) is None:
        return
    dropped = _dropped(api)
    for name, value in document.items():
        if name not in dropped or value is None or any(_equal(value, default) for default in dropped[name]):
            continue
        here = _CALLED.get(api, {}).get(name)
        message = f"{name}: {api} has no such field" + ("" if here is None else f"; it is called {here} there")
        raise BadBody(Refusal(400, "unsupported_parameter", message, name))


def _api(document: Mapping[str, Any], path: str) -> str | None:
    if path == VISUAL_TOKENS or (path == INVOCATIONS and "messages" in document):
        return CHAT
    if is_anthropic(path):
        return MESSAGES_API
    if path == INVOCATIONS and "prompt" in document:
        return COMPLETIONS
    return path if path in _MODELS else None


@cache
def _dropped(api: str) -> dict[str, list[object]]:
    """Fields that an API does not have, each with the values by which it asks for nothing."""
    found: dict[str, list[object]] = {}
    for model in _MODELS.values():
        for name, field in model.model_fields.items():
            if name not in {*_MODELS[api].model_fields, *_NO_MATTER, *_JUDGED.get(api, ())}:
                default = field.get_default(call_default_factory=True, validated_data={})
                found.setdefault(name, list(_NOTHING)).extend([] if default is PydanticUndefined else [default])
    return found


def _equal(value: object, default: object) -> bool:
    return isinstance(value, bool) == isinstance(default, bool) and value == default
