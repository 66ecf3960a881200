"""Messages of chat completions, of their batches and of /tokenize.

vLLM (0.32 and 0.33, renderers/chat_utils) reads the parts of a message one by one when it makes the prompt: an object
passes for a list of parts there, and a part without text is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...errors.places import Place
from .reading import allow, expect, expect_arguments, fail, filled, missing, objects, require

_STRINGS: Final = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "tool_reference": "name",
    "prompt_embeds": "data",
}
"""The member that each type of part needs, where it is a string."""

_URLS: Final = ("image_url", "video_url", "audio_url")
_EMBEDDED: Final = ("image_embeds", "video_embeds", "audio_embeds")
_MEDIA: Final = frozenset({*_URLS, *_EMBEDDED, "image_pil", "input_audio"})
"""Types that are called as their member is. A part that has one of these members needs no type."""

_TYPES: Final = frozenset({*_STRINGS, *_MEDIA, "input_image"})
_DETAILS: Final = ("auto", "low", "high", "original")
_UNREAD: Final = {
    "audio": "is not read by this server: send what was said as content",
    "function_call": "is not read by this server: send the call in tool_calls",
}
"""What OpenAI's API knows of an earlier answer, and vLLM's renderer leaves out of the prompt."""

_HELD: Final = {"input_image": "image_url"}
"""Types whose medium stands in a member of another name."""

_SAMPLING: Final = frozenset(
    {
        *("fps", "num_frames", "min_frames", "max_frames", "video_start", "video_end"),
        *("min_pixels", "total_pixels", "resized_height", "resized_width"),
    }
)
"""What other servers let a part say of how its video or picture is looked at; vLLM drops it."""

LONGEST_UUID: Final = 256
"""Thousands are remembered; and an empty one would be everybody's who has none."""

_ASK: Final = frozenset({"system", "developer", "user"})
"""Roles of messages that say something; an assistant may have called a tool, and a tool may have nothing to tell."""
_KNOWN: Final = _ASK | {"assistant", "tool"}


def check_messages(messages: Any, place: Place) -> None:
    """Look at a conversation.

    Raises:
        BadBody: with the first thing in it that cannot be used.
    """
    for message, at in objects(messages, place):
        role = filled(require(message, "role", at, str), (*at, "role"))
        allow(message, at, str, "tool_call_id", "reasoning", "reasoning_content", "refusal", "task")
        for name, why in _UNREAD.items():
            if message.get(name) is not None:
                fail((*at, name), why, "unsupported_parameter")
        allow(message, at, list, "tools")
        if "name" in message:
            expect(message["name"], (*at, "name"), str)
        _check_content(message, role, at)
        if message.get("tool_calls") is not None:
            _check_calls(message["tool_calls"], (*at, "tool_calls"))


def _check_content(message: Mapping[str, Any], role: str, place: Place) -> None:
    content, at = message.get("content"), (*place, "content")
    if content is None:
        if role in _ASK and "content" not in message:
            missing(at)
        if role in _ASK:
            fail(at, "must be a string or a list of parts")
        return
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        fail(at, "must be a string or a list of parts")
    if role in _ASK and not content:
        fail(at, "must have a part")
    for number, part in enumerate(content):
        if isinstance(part, str) and role not in _KNOWN:
            continue  # a role of the model's own, whose parts vLLM takes as text too
        _check_part(expect(part, (*at, number), dict), (*at, number))


def _check_part(part: Mapping[str, Any], place: Place) -> None:
    allow(part, place, str, "uuid")
    if part.get("uuid") is not None and not 0 < len(part["uuid"]) <= LONGEST_UUID:
        fail((*place, "uuid"), f"must have 1 to {LONGEST_UUID} characters")
    if "type" in part:
        kind = expect(part["type"], (*place, "type"), str)
        if kind not in _TYPES:
            fail((*place, "type"), f"must be one of {', '.join(sorted(_TYPES))}")
    else:
        kind = next((name for name in part if name in _MEDIA), None)
        if kind is None:
            missing((*place, "type"))
    if kind in _STRINGS and part.get("uuid") is not None:
        fail((*place, "uuid"), "is for pictures and other media alone")
    _refuse_dropped(part, kind, place)
    if (member := _STRINGS.get(kind)) is not None:
        require(part, member, place, str)
    elif part.get("uuid") is None:
        _check_medium(part, kind, place)


def _refuse_dropped(part: Mapping[str, Any], kind: str, place: Place) -> None:
    """What vLLM would not look at, as another member says what the part is."""
    for name in part:
        if name in _MEDIA and name not in (kind, _HELD.get(kind)) and part[name] is not None:
            fail((*place, name), f"would be left out of a part of type {kind}: send it in a part of its own")
    if kind not in _STRINGS and part.get("text"):
        fail((*place, "text"), f"would be left out of a part of type {kind}: send it in a part of its own")
    inner = part.get(kind)
    for node, at in ((part, place), (inner, (*place, kind))):
        if isinstance(node, Mapping) and kind not in _STRINGS:
            for name in _SAMPLING & node.keys():
                if node[name] is not None:
                    fail((*at, name), "is not read by this server", "unsupported_parameter")
    if kind == "video_url" and isinstance(inner, Mapping) and inner.get("detail") not in (None, "auto"):
        fail((*place, kind, "detail"), "is for pictures alone", "unsupported_parameter")


def _check_medium(part: Mapping[str, Any], kind: str, place: Place) -> None:
    """A part that brings a picture or another medium itself, not by a `uuid` alone."""
    if kind == "input_image":
        require(part, "image_url", place, str)
        _check_detail(part, place)
        return
    if kind == "image_pil":
        if kind not in part:
            missing((*place, kind))
        fail((*place, kind), "must be a PIL image, which no JSON can hold: send it in an image_url", "invalid_image")
    if kind in _URLS and "type" in part:
        medium = require(part, kind, place, dict)
        require(medium, "url", (*place, kind), str)
        if "detail" in medium:
            _check_detail(medium, (*place, kind))
        if kind == "image_url" and part.get("detail", "auto") not in ("auto", None):
            fail((*place, "detail"), "belongs inside image_url")
    elif kind in _URLS:
        require(part, kind, place, str)
    elif kind == "input_audio":
        sound = require(part, kind, place, dict)
        for name in ("data", "format"):
            require(sound, name, (*place, kind), str)
    else:
        require(part, kind, place, str, dict)


def _check_detail(node: Mapping[str, Any], place: Place) -> None:
    if require(node, "detail", place, str) not in _DETAILS:
        fail((*place, "detail"), f"must be one of {', '.join(_DETAILS)}")


def _check_calls(calls: Any, place: Place) -> None:
    for call, at in objects(calls, place):
        require(call, "id", at, str)
        if require(call, "type", at, str) != "function":
            fail((*at, "type"), "must be function")
        function = require(call, "function", at, dict)
        for name in ("name", "arguments"):
            require(function, name, (*at, "function"), str)
        expect_arguments(function["arguments"], (*at, "function", "arguments"))
