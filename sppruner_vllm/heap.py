"""Gives back to the system what glibc's allocator holds free.

Pictures come and go as blocks of megabytes, and between them stay small ones: rows, hashes, cached pixels. Freed blocks
that have such a neighbour stay with the process, and new ones of other sizes do not fit into the gaps, so that a server
grows for hours although nothing is lost. docs/operate/operations.md, "Memory over time".
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread, get_native_id
from typing import Final

THREAD: Final = "sppruner-heap"
"""What the system calls the thread, in `top -H` for instance."""

_trimmed: Final[set[int]] = set()
"""Processes in which the thread runs; one that is forked has a number of its own, and no thread."""


def trim_heap_every(seconds: float) -> None:
    """Let a thread of this process give memory back from time to time; does nothing from the second call on.

    Args:
        seconds: between two times; 0 leaves the memory with the process, as does an allocator other than glibc's.
    """
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if seconds and trim is not None and os.getpid() not in _trimmed:
        _trimmed.add(os.getpid())
        Thread(target=_trim, args=(trim, seconds), name=THREAD, daemon=True).start()


def _trim(trim: Callable[[int], int], seconds: float) -> None:
    with suppress(OSError):
        Path(f"/proc/self/task/{get_native_id()}/comm").write_text(THREAD)
    pause = Event()
    while not pause.wait(seconds):
        trim(0)
