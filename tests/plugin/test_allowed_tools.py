"""A choice among some of a request's tools leaves it those alone."""

from __future__ import annotations

from typing import Any

import pytest
from sppruner_server.body.allowed_tools import choose_allowed
from sppruner_server.body.content.document import CHAT
from sppruner_server.body.json_body import BadBody
from sppruner_server.errors.refusal import RESPONSES_API

NAMES = ("f", "g", "h")
IN_CHAT = [{"type": "function", "function": {"name": name}} for name in NAMES]
IN_RESPONSE: list[dict[str, Any]] = [{"type": "function", "name": name} for name in NAMES]


def chat(*names: str, mode: str = "auto", **fields: Any) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    return {"tools": [*IN_CHAT], "tool_choice": choice, **fields}


def response(*names: str, mode: str = "auto", **fields: Any) -> dict[str, Any]:
    choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}
    return {"tools": [*IN_RESPONSE], "tool_choice": choice, **fields}


@pytest.mark.parametrize(("make", "path", "tools"), [(chat, CHAT, IN_CHAT), (response, RESPONSES_API, IN_RESPONSE)])
def test_the_others_are_taken_out_and_the_mode_is_the_choice(make: Any, path: str, tools: list[Any]) -> None:
    document = make("h", "f", mode="required")
    assert choose_allowed(document, path)
    assert document == {"tools": [tools[0], tools[2]], "tool_choice": "required"}


@pytest.mark.parametrize("choice", ["auto", None, {"type": "function", "name": "f"}, {"type": "allowed"}, 5])
def test_any_other_choice_is_left_alone(choice: Any) -> None:
    document = {"tools": IN_RESPONSE, "tool_choice": choice}
    assert not choose_allowed(document, RESPONSES_API)
    assert document == {"tools": IN_RESPONSE, "tool_choice": choice}


@pytest.mark.parametrize(
    ("document", "path", "param"),
    [
        (chat("f", "x"), CHAT, "tool_choice.allowed_tools.tools[1].function.name"),
        (response("f", "x"), RESPONSES_API, "tool_choice.tools[1].name"),
        (response("f", tools=None), RESPONSES_API, "tool_choice.tools[0].name"),
        (response("f", mode="none"), RESPONSES_API, "tool_choice.mode"),
        (response(), RESPONSES_API, "tool_choice.tools"),
        (response(""), RESPONSES_API, "tool_choice.tools[0].name"),
        ({**response("f"), "tools": "f"}, RESPONSES_API, "tools"),
        (response("f"), CHAT, "tool_choice.allowed_tools"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}},
            RESPONSES_API,
            "tool_choice.tools[0].type",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_chosen_is_named(document: dict[str, Any], path: str, param: str) -> None:
    with pytest.raises(BadBody) as bad:
        choose_allowed(document, path)
    assert bad.value.refusal.param == param
