"""Pictures, and wishes about a message, in fields that other servers read and this one does not: refused, where vLLM
answers as if they had not been sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..errors.places import Place
from .content.reading import fail

_PICTURES: Final = ("images", "image_data", "image_url", "multi_modal_data")
"""What Ollama, SGLang and vLLM's own LLM call them, beside messages or in one."""
_IN_MESSAGES: Final = (*_PICTURES, "image")

_CONTINUES: Final = ("prefix", "partial")
"""By these an assistant's last message is gone on with, at Mistral, DeepSeek and Moonshot."""

_CODE: Final = "unsupported_parameter"
_CONVERSATIONS: Final = ("messages", "input")


def refuse_lost(document: Any) -> None:
    """Refuse the first such field that asks for something.

    Args:
        document: that was read, good or not.

    Raises:
        BadBody: names the field, and what to send instead.
    """
    if not isinstance(document, dict):
        return
    _refuse_pictures(document, _PICTURES, ())
    for name in _CONVERSATIONS:
        for message, place in _messages(document.get(name), (name,)):
            _refuse_pictures(message, _IN_MESSAGES, place)
            for wish in _CONTINUES:
                if message.get(wish) is True:
                    fail((*place, wish), "is not read by this server: set continue_final_message", _CODE)


def _messages(node: Any, place: Place) -> Iterator[tuple[Mapping[str, Any], Place]]:
    """Messages of a conversation, or of those of a batch."""
    for number, entry in enumerate(node if isinstance(node, list) else ()):
        if isinstance(entry, dict) and "role" in entry:
            yield entry, (*place, number)
        elif isinstance(entry, list) and len(place) == 1:
            yield from _messages(entry, (*place, number))


def _refuse_pictures(node: Mapping[str, Any], names: tuple[str, ...], place: Place) -> None:
    for name in names:
        if node.get(name) not in (None, [], {}, ""):
            what = "is not read by this server: send a picture as a part of a message's content"
            fail((*place, name), what, _CODE)
