"""What a `uuid` stands for: the item that was last sent under it.

vLLM takes a uuid for the item itself, and answers for the first picture when a second one comes under its name. Here an
item that is sent is known by its content and its uuid together, and a uuid alone means the last item sent with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from cachetools import LRUCache
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.hasher import MultiModalHasher
from vllm.multimodal.processing.inputs import ProcessorInputs

Hashes = dict[str, list[str]]

_MADE_UP: Final = re.compile(r"renderer\d+-mm-\d+-[a-z_]+-\d+")
"""What vLLM calls the items of a request where no cache would ask for their names (renderers/base.py)."""


class LastSent:
    """The items of an API process by uuid, the latest 8,192 of them."""

    def __init__(self, algorithm: Any) -> None:
        """Args: algorithm: vLLM's, by which items are hashed."""
        self._algorithm = algorithm
        self._last: LRUCache[str, str] = LRUCache(maxsize=8192)

    def hashes(self, inputs: ProcessorInputs, upstream: Callable[[ProcessorInputs], Hashes]) -> Hashes:
        """The hash of each item, in place of what vLLM makes of uuids.

        Args: upstream: vLLM's own hashing, which also counts how items are processed.
        """
        uuids_of = inputs.mm_uuid_items or {}
        given = {kind: list(uuids) for kind in inputs.mm_data_items if _named(uuids := uuids_of.get(kind) or ())}
        if not given:
            return upstream(inputs)
        sent = {kind: _sent(inputs.mm_data_items[kind]) for kind in given}
        left = {
            kind: [None if there else uuid for there, uuid in zip(sent[kind], uuids, strict=True)]
            for kind, uuids in given.items()
        }
        # Of a uuid alone this hashes nothing but the uuid, and of no item more than that.
        asked = {kind: [uuid or "" for uuid in uuids] for kind, uuids in given.items()}
        contents = upstream(replace(inputs, mm_uuid_items={**uuids_of, **left}))
        names = upstream(_only(inputs, asked))
        return contents | {
            kind: [
                content if uuid is None else self._known(kind, name, content if there else None)
                for uuid, name, content, there in zip(uuids, names[kind], contents[kind], sent[kind], strict=True)
            ]
            for kind, uuids in given.items()
        }

    def _known(self, kind: str, name: str, content: str | None) -> str:
        """The hash of what a name stands for from now on, or has stood for where nothing was sent with it."""
        # A client may choose a name as long as a body, and 8,192 of them.
        key = MultiModalHasher.hash_kwargs(self._algorithm, kind=kind, name=name)
        if content is not None:
            self._last[key] = MultiModalHasher.hash_kwargs(self._algorithm, name=name, content=content)
        # No hash looks like it: nobody finds another's item by guessing what it hashes to.
        return self._last.get(key, f"unknown uuid {name}")


def _named(uuids: Sequence[object]) -> bool:
    """Whether a client named any of the items.

    Raises:
        VLLMValidationError: with what is no text.
    """
    given = [uuid for uuid in uuids if uuid is not None]
    names = [uuid for uuid in given if isinstance(uuid, str)]
    if len(names) < len(given):
        raise VLLMValidationError("a uuid must be a string", parameter="uuid")
    return any(not _MADE_UP.fullmatch(name) for name in names)


def _sent(items: Any) -> list[bool]:
    return [item is not None for item in items.get_all_items_for_hash()]


def _only(inputs: ProcessorInputs, uuids: dict[str, list[str]]) -> ProcessorInputs:
    kinds = type(inputs.mm_data_items)({kind: inputs.mm_data_items[kind] for kind in uuids})
    return replace(inputs, mm_data_items=kinds, mm_uuid_items=uuids)
