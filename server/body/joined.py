"""Answers that are sent back in the input of a response, in one piece each.

vLLM (0.32 and 0.33, openai/responses) reads the first part of an answer, and of its reasoning, and no other; none that
is a refusal; and no text of an answer that does not say that it is a message, which OpenAI lets be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..errors.refusal import RESPONSES_API

_TEXT: Final = "output_text"
_MEMBERS: Final = {_TEXT: "text", "input_text": "text", "refusal": "refusal"}
_REASONING: Final = {"content": "reasoning_text", "summary": "summary_text"}
"""Lists of parts that reasoning has, and the kind of their parts."""


def join_answers(document: Mapping[str, Any], path: str) -> bool:
    """Make one text of each answer that vLLM would not read whole.

    Args:
        document: of a body that was found to be good, which is changed. path: of the request.

    Returns:
        Whether anything was.
    """
    if not path.startswith(RESPONSES_API) or not isinstance(document.get("input"), list):
        return False
    changed = False
    for item in document["input"]:
        kind = item.get("type")
        if kind == "reasoning":
            for name, of_part in _REASONING.items():
                if (text := _whole(item.get(name), of_part, at_least=2)) is not None:
                    item[name] = [{"type": of_part, "text": text}]
                    changed = True
        elif kind in (None, "message") and item.get("role") == "assistant":
            parts = item["content"]
            if kind is not None and isinstance(parts, list) and [part["type"] for part in parts] == [_TEXT]:
                continue
            if (text := _whole(parts, at_least=1)) is not None:
                item |= {"type": "message", "content": [{"type": _TEXT, "text": text}]}
                changed = True
    return changed


def _whole(parts: Any, kind: str | None = None, *, at_least: int) -> str | None:
    """The text of so many parts, and of that kind; None for anything else, of which the route says what is wrong."""
    if not isinstance(parts, list) or len(parts) < at_least:
        return None
    texts = []
    for part in parts:
        if not isinstance(part, dict) or (kind is not None and part.get("type") != kind):
            return None
        text = part.get(_MEMBERS.get(str(part.get("type")), "text"))
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "".join(texts)
