"""A choice among some of a request's tools: the others are taken out, so that none of them can be called.

vLLM (0.32 and 0.33) takes `allowed_tools` in responses and holds a model to it where the parser of its tools makes
structural tags, else not at all; and names of tools that there are not pass there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors.places import Place
from ..errors.refusal import RESPONSES_API, is_anthropic
from .content.reading import expect, fail, filled, objects, require

_CHOICE: Final = "tool_choice"
_ALLOWED: Final = "allowed_tools"
_TOOLS: Final = "tools"
_FUNCTION: Final = "function"
_MODES: Final = ("auto", "required")


def choose_allowed(document: Any, path: str) -> bool:
    """Leave a request the tools that it allows, and the mode as its choice.

    Args:
        document: that was read, good or not; is changed. path: of the request.

    Returns:
        Whether anything was changed.

    Raises:
        BadBody: names what of the choice cannot be used.
    """
    choice = document.get(_CHOICE) if isinstance(document, dict) else None
    if not isinstance(choice, dict) or choice.get("type") != _ALLOWED or is_anthropic(path):
        return False
    place: Place = (_CHOICE,)
    in_chat = not path.startswith(RESPONSES_API)
    if in_chat:
        choice, place = require(choice, _ALLOWED, place, dict), (*place, _ALLOWED)
    if require(choice, "mode", place, str) not in _MODES:
        fail((*place, "mode"), f"must be one of {', '.join(_MODES)}")
    tools = expect(document.get(_TOOLS) or [], (_TOOLS,), list)
    tools = [tool for tool in tools if isinstance(tool, dict)]
    named = {_name(tool, in_chat) for tool in tools}
    allowed = list(_allowed(choice, place, in_chat))
    if not allowed:
        fail((*place, _TOOLS), "must name a tool")
    for name, at in allowed:
        if name not in named:
            fail(at, "names no tool of the request")
    names = {name for name, _ in allowed}
    document[_TOOLS] = [tool for tool in tools if _name(tool, in_chat) in names]
    document[_CHOICE] = choice["mode"]
    return True


def _allowed(choice: Mapping[str, Any], place: Place, in_chat: bool) -> Iterator[tuple[str, Place]]:
    """The name of each tool, and its place."""
    kinds = (_FUNCTION,) if in_chat else (_FUNCTION, "custom")
    for entry, at in objects(require(choice, _TOOLS, place, list), (*place, _TOOLS)):
        if require(entry, "type", at, str) not in kinds:
            fail((*at, "type"), f"must be {' or '.join(kinds)}")
        holder, there = (require(entry, _FUNCTION, at, dict), (*at, _FUNCTION)) if in_chat else (entry, at)
        yield filled(require(holder, "name", there, str), (*there, "name")), (*there, "name")


def _name(tool: Mapping[str, Any], in_chat: bool) -> Any:
    holder = tool.get(_FUNCTION) if in_chat else tool
    name = holder.get("name") if isinstance(holder, dict) else None
    return name if isinstance(name, str) else None
