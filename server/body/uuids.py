"""A `uuid` is its key's own: one that another key's client has chosen is another one, however easy to guess."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_UUID: Final = "uuid"


def name_uuids(document: Any, owner: str | None) -> bool:
    """Put the key's name before each uuid of a body.

    Args:
        document: that was found to be good; is changed. owner: name of the key, without a colon; None without keys.

    Returns:
        Whether anything was changed.
    """
    if owner is None or not isinstance(document, dict):
        return False
    changed = False
    for part in _parts(document.get("messages")):
        if isinstance(part.get(_UUID), str):
            part[_UUID] = f"{owner}:{part[_UUID]}"
            changed = True
    return changed


def _parts(messages: Any) -> Iterator[dict[str, Any]]:
    """Of a conversation, or of those of a batch."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list):
            yield from _parts(message)
        elif isinstance(message, dict) and isinstance(message.get("content"), list):
            yield from (part for part in message["content"] if isinstance(part, dict))
