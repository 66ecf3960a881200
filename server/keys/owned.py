"""A mapping in which every key of the server sees and changes what is its own alone.

Stands in for the tables in which vLLM stores responses by their id: what another key's client has stored is not there,
whatever id is asked for, and an id that two of them chose is two entries.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TypeVar

from .current import current_key

Value = TypeVar("Value")


class Owned(MutableMapping[str, Value]):
    """By id, of the key of the request that this task serves; without keys all is one owner's."""

    def __init__(self) -> None:
        self._entries: dict[str | None, dict[str, Value]] = {}

    def __getitem__(self, identity: str) -> Value:
        return self._own()[identity]

    def __setitem__(self, identity: str, value: Value) -> None:
        self._entries.setdefault(_owner(), {})[identity] = value

    def __delitem__(self, identity: str) -> None:
        del self._own()[identity]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def _own(self) -> dict[str, Value]:
        return self._entries.get(_owner(), {})


def _owner() -> str | None:
    key = current_key()
    return None if key is None else key.name
