"""What vLLM's handlers of Anthropic's API make of a request and of its answer, where that is not Anthropic's.

vLLM 0.32 and 0.33, entrypoints/anthropic/serving.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

INVALID: Final = "INVALID_JSON"
"""Under this name Anthropic's API has what a model wrote in place of an object, which its clients send back so."""


def continuing(convert: Callable[..., Any]) -> Callable[..., Any]:
    """vLLM's `to_chat_completion_request`, bound: an assistant's last message is gone on with, and not answered."""

    @wraps(convert)
    def converted(*args: Any, **kwargs: Any) -> Any:
        request = convert(*args, **kwargs)
        last = request.messages[-1] if request.messages else {}
        if last.get("role") == "assistant" and _is_text(last.get("content")) and not last.get("tool_calls"):
            return request.model_copy(update={"continue_final_message": True, "add_generation_prompt": False})
        return request

    return converted


def _is_text(content: Any) -> bool:
    """Whether it is a text, or of texts alone."""
    if isinstance(content, list):
        return bool(content) and all(part.get("type") == "text" for part in content)
    return isinstance(content, str) and bool(content)


def with_objects(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """vLLM's `messages_full_converter`, bound: the input of a tool is an object, whatever the model has written.

    A tool that is not `strict` may be called with any JSON, on which vLLM fails.
    """

    @wraps(convert)
    def converted(answer: Any) -> Any:
        return convert(answer.model_copy(update={"choices": [_choice(choice) for choice in answer.choices]}))

    return converted


def _choice(choice: Any) -> Any:
    """The same with objects as the arguments of its calls."""
    calls = [
        call.model_copy(
            update={"function": call.function.model_copy(update={"arguments": _object(call.function.arguments)})}
        )
        for call in choice.message.tool_calls or ()
    ]
    return choice.model_copy(update={"message": choice.message.model_copy(update={"tool_calls": calls})})


def _object(arguments: str) -> str:
    """The arguments of a call as an object that can be sent."""
    try:
        found = json.loads(arguments, parse_constant=_none)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        found = None
    return arguments if isinstance(found, dict) else json.dumps({INVALID: arguments})


def _none(constant: str) -> None:
    raise ValueError(constant)
