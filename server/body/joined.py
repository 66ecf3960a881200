"""Answers that are sent back in the input of a response, in one piece each.

vLLM (0.32 and 0.33, responses/utils.py, `_construct_message_from_response_item`) reads the first part of an answer, and
of its reasoning, and no other; and none that is a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors.refusal import RESPONSES_API

_TEXT: Final = "output_text"
_MEMBERS: Final = {_TEXT: "text", "input_text": "text", "refusal": "refusal"}


def join_answers(document: dict[str, Any], path: str) -> bool:
    """Make one part of each answer that has several, or is a refusal.

    Args:
        document: of a body that was found to be good, which is changed. path: of the request.

    Returns:
        Whether anything was.
    """
    if not path.startswith(RESPONSES_API) or not isinstance(document.get("input"), list):
        return False
    changed = False
    for item in document["input"]:
        if item.get("type", "message") == "message" and item.get("role") == "assistant":
            changed = _join(item, "content", _TEXT) or changed
        elif item.get("type") == "reasoning":
            for name, kind in (("content", "reasoning_text"), ("summary", "summary_text")):
                changed = _join(item, name, kind) or changed
    return changed


def _join(item: dict[str, Any], name: str, kind: str) -> bool:
    """Make one part of a kind of the list of that name; False where there is nothing to do."""
    parts = item.get(name)
    if not isinstance(parts, list) or not parts or (len(parts) == 1 and parts[0].get("type") == kind):
        return False
    texts = list(_texts(parts))
    if len(texts) != len(parts):
        return False  # the route says what is wrong
    item[name] = [{"type": kind, "text": "".join(texts)}]
    return True


def _texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get(_MEMBERS.get(part.get("type"), "text"))
        if isinstance(text, str):
            yield text
