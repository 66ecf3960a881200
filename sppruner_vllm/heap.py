"""Keeps glibc's heaps few, and gives back to the system what they hold free.

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

HEAPS: Final = "MALLOC_ARENA_MAX"
"""glibc's own variable for the most heaps of a process, read as it starts."""
MOST_HEAPS: Final = 2
"""Heaps that a process shares among its threads. glibc makes up to eight a core, each with gaps of its own."""
_M_ARENA_MAX: Final = -8
"""Of malloc.h."""

_trimmed: Final[set[int]] = set()
"""Processes in which the thread runs; one that is forked has a number of its own, and no thread."""


def share_heaps() -> None:
    """Let the threads of this process, and of each that it starts, share two heaps.

    Does nothing where the operator's environment says how many, or with an allocator other than glibc's.
    """
    mallopt: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and HEAPS not in os.environ:
        mallopt(_M_ARENA_MAX, MOST_HEAPS)
        os.environ[HEAPS] = str(MOST_HEAPS)


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
