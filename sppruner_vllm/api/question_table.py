"""The first question of each image, in memory that the API processes of one server share.

A table of fixed size without locks. An image has one place, which the newest one takes: what is lost by that, or by two
processes that write at once, is one reuse of the prefix cache, never an answer.
"""

from __future__ import annotations

import logging
import mmap
import os
from pathlib import Path
from typing import Final

from sppruner_vllm.folder import meeting_folder
from sppruner_vllm.planning.scope import DIGEST_BYTES

PLACES: Final = 2**16

_ENTRY: Final = 2 * DIGEST_BYTES
_SIZE: Final = PLACES * _ENTRY
_FILE: Final = "sppruner_questions.table"
_EMPTY: Final = bytes(DIGEST_BYTES)

logger = logging.getLogger("vllm.sppruner")


class QuestionTable:
    """A `scope.Memory` of 2 MiB, some 65,000 images; of this process alone where there is no shared folder."""

    def __init__(self) -> None:
        self._table = _memory(meeting_folder())

    def recall(self, image: bytes) -> bytes | None:
        start = _place(image)
        held, question = self._table[start : start + DIGEST_BYTES], self._table[start + DIGEST_BYTES : start + _ENTRY]
        return question if held == image and question != _EMPTY else None

    def note(self, image: bytes, question: bytes) -> None:
        if self.recall(image) is None:
            start = _place(image)
            self._table[start : start + _ENTRY] = image + question


def _place(image: bytes) -> int:
    return int.from_bytes(image[:8]) % PLACES * _ENTRY


def _memory(folder: Path | None) -> mmap.mmap:
    if folder is not None:
        try:
            return _shared(folder / _FILE)
        except OSError as problem:
            logger.warning("the first questions about pictures are known to this API process alone: %s", problem)
    return mmap.mmap(-1, _SIZE)


def _shared(file: Path) -> mmap.mmap:
    # What the operator's folder may hold under this name is not followed to another place, where it would be cut off.
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(handle, _SIZE)
        return mmap.mmap(handle, _SIZE)
    finally:
        os.close(handle)
