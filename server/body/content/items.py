"""The input of a response.

Where an item fits none of the dozens that there are, pydantic tells of the one that it tried last; and the content of
an answer that is sent back is read late, so that an object passes for a list of parts there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors.places import Place
from .reading import allow, expect, expect_arguments, fail, objects, require

_STRINGS: Final = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
"""The member that each type of part needs, where it is a string."""
_KINDS: Final = (
    *("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
    "reasoning",
)
"""Items that vLLM makes a prompt of."""
_REASONING: Final = {"summary": "summary_text", "content": "reasoning_text"}
_ROLES: Final = ("assistant", "developer", "system", "user")
_PICTURE: Final = "input_image"
_DETAILS: Final = ("auto", "low", "high", "original")


def check_input(document: Mapping[str, Any]) -> None:
    """Look at what a response is to be made from.

    Raises:
        BadBody: with the first thing in it that cannot be used.
    """
    if "input" not in document:
        return
    items, at = document["input"], ("input",)
    if isinstance(items, str):
        return
    if expect(items, at, str, list) == [] and document.get("previous_response_id") is None:
        fail(at, "must have an item")
    for item, place in objects(items, at):
        _check_item(item, place)


def _check_item(item: Mapping[str, Any], place: Place) -> None:
    if "type" in item:
        expect(item["type"], (*place, "type"), str)
    allow(item, place, str, "id", "name", "namespace", "created_by", "encrypted_content")
    allow(item, place, dict, "caller")
    match item.get("type", "message"):
        case "message":
            if require(item, "role", place, str) not in _ROLES:
                fail((*place, "role"), f"must be one of {', '.join(_ROLES)}")
            answers = item["role"] == "assistant"
            _check_parts(require(item, "content", place, str, list), (*place, "content"), pictures=not answers)
        case "function_call":
            for name in ("call_id", "name", "arguments"):
                require(item, name, place, str)
            expect_arguments(item["arguments"], (*place, "arguments"))
        case "custom_tool_call":
            for name in ("call_id", "name", "input"):
                require(item, name, place, str)
        case "function_call_output" | "custom_tool_call_output":
            require(item, "call_id", place, str)
            _check_parts(require(item, "output", place, str, list), (*place, "output"))
        case "reasoning":
            require(item, "summary", place, list)
            allow(item, place, list, "content")
            for name, kind in _REASONING.items():
                for part, at in objects(item.get(name) or [], (*place, name)):
                    if require(part, "type", at, str) != kind:
                        fail((*at, "type"), f"must be {kind}")
                    require(part, "text", at, str)
        case _:
            fail((*place, "type"), f"must be one of {', '.join(_KINDS)}")


def _check_parts(parts: Any, place: Place, *, pictures: bool = True) -> None:
    """Args: pictures: whether there may be any. vLLM leaves those of an answer out, if it begins with text."""
    if isinstance(parts, str):
        return
    kinds = (*_STRINGS, _PICTURE) if pictures else tuple(_STRINGS)
    for part, at in objects(parts, place):
        kind = require(part, "type", at, str)
        for name in ("image_url", "text"):
            if kind in kinds and part.get(name) and name != _STRINGS.get(kind, "image_url"):
                fail((*at, name), f"would be left out of a part of type {kind}: send it in a part of its own")
        if kind == _PICTURE and pictures:
            if not isinstance(part.get("image_url"), str):
                fail((*at, "image_url"), "must be a string: the URL of a picture", "invalid_image")
            if part.get("detail") is not None and part["detail"] not in _DETAILS:
                fail((*at, "detail"), f"must be one of {', '.join(_DETAILS)}")
        elif kind in _STRINGS:
            require(part, _STRINGS[kind], at, str)
        else:
            fail((*at, "type"), f"must be one of {', '.join(sorted(kinds))}")
