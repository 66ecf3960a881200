"""How glibc keeps the memory of this process: in few heaps, for use again, and given back once it has grown by gaps.

Pictures come and go as blocks of megabytes, and between them stay small ones: rows, hashes, cached pixels. Freed blocks
that have such a neighbour stay with the process, and new ones of other sizes do not fit into the gaps, so that a server
grows for hours although nothing is lost. Given back too readily, the same pages are asked for again by each request.
docs/operate/operations.md, "Memory over time".
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, get_native_id
from typing import Final

THREAD: Final = "sppruner-heap"
"""What the system calls the thread, in `top -H` for instance."""


@dataclass(frozen=True, slots=True)
class _Limit:
    """One of glibc's: its number in malloc.h, the variable it is read from as a process starts, and our value."""

    number: int
    variable: str
    value: int


LIMITS: Final = (
    # Heaps that a process shares among its threads. glibc makes up to eight a core, each with gaps of its own.
    _Limit(-8, "MALLOC_ARENA_MAX", 2),
    # Bytes of a block that goes back to the system when it is freed; the largest value that glibc takes. Left alone it
    # follows the blocks that were freed, and with it whether a picture's page faults are paid once or in each request.
    _Limit(-3, "MALLOC_MMAP_THRESHOLD_", 2**25),
    # Bytes at the end of a heap that are kept. Where a request's blocks lie there, all of them would go back after it.
    _Limit(-1, "MALLOC_TRIM_THRESHOLD_", 2**30),
)

LEAST_GROWTH: Final = 2**26
"""Bytes that a process grows by, at least, before it gives back."""

GROWTH: Final = 1 / 8
"""Share of what it needs that it grows by before it gives back."""

SETTLING: Final = 6
"""Looks at a process after it gave back, in which what it takes again counts as needed."""

RENEWAL: Final = 120
"""Looks after which it gives back anyhow, and what it needs is found out again."""

_trimmed: Final[set[int]] = set()
"""Processes in which the thread runs; one that is forked has a number of its own, and no thread."""


def keep_heaps() -> None:
    """Set glibc's limits for this process, and for each that it starts.

    Leaves those that the operator's environment names; does nothing with an allocator other than glibc's.
    """
    mallopt: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for limit in LIMITS:
        if limit.variable not in os.environ:
            mallopt(limit.number, limit.value)
            os.environ[limit.variable] = str(limit.value)


class Growth:
    """Tells from looks at a process whether it holds more than it needs."""

    def __init__(self) -> None:
        self._looks = self._needed = 0
        self._settling = SETTLING

    def beyond(self, held: int) -> bool:
        """Whether to give back now.

        Args:
            held: bytes that the process holds.
        """
        self._looks += 1
        if self._looks == RENEWAL:
            self._looks = self._needed = 0
            self._settling = SETTLING
            return True
        if self._settling:
            self._settling -= 1
            self._needed = max(self._needed, held)
            return False
        if held <= self._needed + max(LEAST_GROWTH, GROWTH * self._needed):
            return False
        self._settling = SETTLING
        return True


def tend_heap(seconds: float) -> None:
    """Keep the heaps, and let a thread of this process give memory back when it has grown.

    Does nothing from the second call on.

    Args:
        seconds: between two looks; 0 leaves the memory with the process, as does an allocator other than glibc's.
    """
    keep_heaps()
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if seconds and trim is not None and os.getpid() not in _trimmed:
        _trimmed.add(os.getpid())
        Thread(target=_trim, args=(trim, seconds), name=THREAD, daemon=True).start()


def _trim(trim: Callable[[int], int], seconds: float) -> None:
    with suppress(OSError):
        Path(f"/proc/self/task/{get_native_id()}/comm").write_text(THREAD)
    pause, growth = Event(), Growth()
    while not pause.wait(seconds):
        if growth.beyond(_held()):
            trim(0)


def _held() -> int:
    """Bytes of anonymous memory of this process that lie in the machine's own."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0
