"""Messages of Anthropic's API.

vLLM (0.32 and 0.33, entrypoints/anthropic) has one kind of block, in which everything may be left out, and leaves out
of the prompt what it finds nothing in: a client that made a mistake would get an answer about no picture, or no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors.places import Place
from .reading import allow, expect, fail, filled, objects, require

INVALID_IMAGE: Final = "invalid_image"

_SYSTEM: Final = frozenset({"text", "tool_addition", "tool_removal"})
"""What a message of the system may have: vLLM reads nothing else of it."""
_CHOSEN: Final = ("any", "tool")
"""Choices that vLLM passes by where there are no tools."""
_PLAIN: Final = frozenset({"text", "image"})
_ANSWERED: Final = frozenset({"tool_use", "thinking", "redacted_thinking"})
"""What only an assistant says; vLLM leaves it out of anybody else's message."""
_IN_RESULTS: Final = frozenset({"text", "image", "tool_reference"})
_DETAILS: Final = ("auto", "low", "high")
"""Of OpenAI's APIs; Anthropic's has none."""
_CHANGES, _OVERSIZED = "transformations", "oversized_image"
_SOURCES: Final = {"base64": ("media_type", "data"), "url": ("url",)}


def check_conversation(document: Mapping[str, Any]) -> None:
    """Look at the messages of a request, and at what is said before them.

    Raises:
        BadBody: with the first thing in it that cannot be used.
    """
    system = document.get("system")
    if isinstance(system, list):
        for block, at in objects(system, ("system",)):
            if require(block, "type", at, str) != "text":
                fail((*at, "type"), "must be text")
            require(block, "text", at, str)
    choice = document.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") in _CHOSEN and not document.get("tools"):
        fail(("tool_choice",), "needs tools to choose from")
    wanted = document.get("output_config")
    shape = wanted.get("format") if isinstance(wanted, Mapping) else None
    if isinstance(shape, Mapping) and shape.get("type") == "json_schema":
        require(shape, "schema", ("output_config", "format"), dict)
    messages = document.get("messages")
    if not isinstance(messages, list):
        return
    if not messages:
        fail(("messages",), "must have a message")
    for message, at in objects(messages, ("messages",)):
        role = require(message, "role", at, str)
        content = require(message, "content", at, str, list)
        if content == [] and role == "user":
            fail((*at, "content"), "must have a block")
        if isinstance(content, list):
            for block, place in objects(content, (*at, "content")):
                _check_block(block, role, place)


def _check_block(block: Mapping[str, Any], role: str, place: Place) -> None:
    kind = require(block, "type", place, str)
    if role == "system" and kind not in _SYSTEM:
        fail((*place, "type"), "must be text in a message of the system")
    for name, of in (("source", "image"), ("text", "text")):
        if block.get(name) and kind != of and kind in _PLAIN:
            fail((*place, name), f"would be left out of a block of type {kind}: send it in a block of its own")
    match kind:
        case "text":
            filled(require(block, "text", place, str), (*place, "text"))
        case "image":
            _check_image(block, place)
        case "tool_use":
            for name in ("id", "name"):
                filled(require(block, name, place, str), (*place, name))
            require(block, "input", place, dict)
        case "tool_result":
            filled(require(block, "tool_use_id", place, str), (*place, "tool_use_id"))
            allow(block, place, bool, "is_error")
            if block.get("content") is not None and not isinstance(block["content"], str):
                _check_result(expect(block["content"], (*place, "content"), str, list), (*place, "content"))
        case "thinking":
            require(block, "thinking", place, str)
            allow(block, place, str, "signature")
        case "redacted_thinking":
            require(block, "data", place, str)
    if role == "assistant" and kind == "tool_result":
        fail((*place, "type"), "is tool_result, which stands in messages of the user alone")
    if role == "user" and kind in _ANSWERED:
        fail((*place, "type"), f"is {kind}, which stands in messages of the assistant alone")


def _check_result(content: Any, place: Place) -> None:
    for item, at in objects(content, place):
        kind = require(item, "type", at, str)
        if kind not in _IN_RESULTS:
            fail((*at, "type"), "must be text or image")
        if kind == "text":
            require(item, "text", at, str)
        elif kind == "image":
            _check_image(item, at)
        else:
            require(item, "name" if "name" in item else "tool_name", at, str)


def _check_image(block: Mapping[str, Any], place: Place) -> None:
    _check_source(block, place)
    changes = block.get(_CHANGES)
    if isinstance(changes, Mapping) and changes.get(_OVERSIZED) not in (None, "downsize"):
        fail((*place, _CHANGES, _OVERSIZED), "cannot be asked for here", "unsupported_parameter")
    if block.get("detail") is not None and block["detail"] not in _DETAILS:
        fail((*place, "detail"), f"must be one of {', '.join(_DETAILS)}")


def _check_source(block: Mapping[str, Any], place: Place) -> None:
    at = (*place, "source")
    source = block.get("source")
    if not isinstance(source, Mapping) or not source:
        fail(at, "must say where the picture is", INVALID_IMAGE)
    wanted = _SOURCES.get(str(source.get("type")))
    if wanted is None:
        fail((*at, "type"), "must be base64 or url", INVALID_IMAGE)
    for name in wanted:
        if not (isinstance(source.get(name), str) and source[name]):
            fail((*at, name), "must be a filled string", INVALID_IMAGE)
