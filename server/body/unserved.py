"""What other servers of these APIs do and this one does not: refused, where vLLM drops it and answers all the same.

Wishes that change nothing of what an answer says (tiers, hints, places, how long something is kept) are not among it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from ..errors.places import Place
from ..errors.refusal import RESPONSES_API, is_anthropic
from .content.document import BATCH
from .content.reading import fail_because

_OF_CHATS: Final = ("audio", "function_call", "functions", "moderation", "verbosity", "web_search_options")
_OF_BATCHES: Final = ("best_of", "early_stopping", "guided_decoding_backend")
"""vLLM's model of a batch has them, and nothing looks at them."""
_RENAMED: Final = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
_OF_RESPONSES: Final = ("context_management", "conversation", "image", "moderation")
_OF_MESSAGES: Final = (
    *("compaction", "container", "context_management", "diagnostics", "mcp_servers", "output_format", "thread"),
)

_OF_ENGINES: Final = ("kv_transfer_params", "ec_transfer_params")
"""What vLLM's connectors find among these, unchecked."""

_TEXT: Final = "text"
_FUNCTION: Final = "function"
_NAMESPACE: Final = "namespace"
"""A list of functions under one name."""
_CUSTOM: Final = "custom"
"""What Anthropic's API calls a function, and OpenAI's what takes any text."""
_CHOICES: Final = (_FUNCTION, _CUSTOM, "allowed_tools")

_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "best_of": (1,),
    "early_stopping": (False,),
    "function_call": ("none",),
    "context_management": ({"edits": []},),
    "diagnostics": ({}, {"previous_message_id": None}),
    "verbosity": ("medium",),
    "image": ({}, {"context_compression": "auto"}),
}
"""Values that ask for nothing, beside null and what is empty."""


def refuse_unserved(document: Any, path: str, *, has_tools: bool, has_turns: bool) -> None:
    """Refuse what would be dropped.

    Args:
        document: that was read, good or not. path: of the request.
        has_tools: whether the operator has given the server tools of its own (vLLM's `--tool-server`).
        has_turns: whether requests may go before others (vLLM's `--scheduling-policy priority`).

    Raises:
        BadBody: names the first field, or tool, that is not served.
    """
    if not isinstance(document, dict):
        return
    priority = document.get("priority")
    if type(priority) is int and priority and not has_turns:
        _fail(("priority",), "this server takes requests in the order in which they come")
    extra = document.get("vllm_xargs")
    for name in _OF_ENGINES:
        if isinstance(extra, dict) and name in extra:
            _fail(("vllm_xargs", name), "has a field of its own")
    if is_anthropic(path):
        _refuse(document, _OF_MESSAGES)
        _refuse_tools(document, (_CUSTOM,), _CUSTOM)
    elif path.startswith(RESPONSES_API):
        _refuse(document, _OF_RESPONSES)
        text = document.get("text")
        if isinstance(text, dict) and text.get("verbosity") not in (None, "medium"):
            _fail(("text", "verbosity"), "this server does not do it")
        if not has_tools:
            _refuse_tools(document, (_FUNCTION, _CUSTOM, _NAMESPACE), f"{_FUNCTION} or {_CUSTOM}")
            _refuse_choice(document)
    elif "messages" in document:
        _refuse(document, _OF_CHATS)
        _refuse_renamed(document)
        if document.get("modalities") not in (None, [], [_TEXT]):
            _fail(("modalities",), "answers are text")
        if path == BATCH:
            _refuse(document, _OF_BATCHES)
    elif (best := document.get("best_of")) is not None and best != (document.get("n") or 1):
        _fail(("best_of",), "all answers are returned; ask for n")
    else:
        _refuse_renamed(document)


def _refuse_renamed(document: Mapping[str, Any]) -> None:
    """vLLM's own fields of before 0.12, which it drops."""
    for name in _RENAMED:
        if document.get(name) is not None:
            _fail((name,), "this server has no such field; it is called structured_outputs here")


def _refuse(document: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        value = document.get(name)
        # An empty object may ask for something: `web_search_options: {}` does.
        if value is None or value == [] or value in _DEFAULTS.get(name, ()):
            continue
        _fail((name,), "this server does not do it")


def _refuse_tools(document: Mapping[str, Any], served: tuple[str, ...], known: str) -> None:
    for place, tool in _objects(document.get("tools")):
        kind = tool.get("type")
        if isinstance(kind, str) and kind not in served:
            _fail(("tools", place, "type"), f"a tool is a {known} here")
        for inner, one in _objects(tool.get("tools")) if kind == _NAMESPACE else ():
            if isinstance(one.get("type"), str) and one["type"] != _FUNCTION:
                _fail(("tools", place, "tools", inner, "type"), f"a tool is a {_FUNCTION} there")


def _refuse_choice(document: Mapping[str, Any]) -> None:
    """Refuse the choice of a tool that could not be given."""
    choice = document.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if isinstance(kind, str) and kind not in _CHOICES:
        _fail(("tool_choice", "type"), f"a tool is a {_FUNCTION} or {_CUSTOM} here")


def _objects(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for place, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict):
            yield place, one


def _fail(place: Place, why: str) -> NoReturn:
    fail_because(place, why, "unsupported_parameter")
