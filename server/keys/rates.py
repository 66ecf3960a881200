"""When each key may ask again, in memory that the API processes of one server share.

The generic cell rate algorithm keeps one number per key: the moment at which its requests so far would have come if
they came evenly. A file lock makes reading and writing it one step; it is held for some microseconds.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sppruner_vllm.folder import meeting_folder

PLACES: Final = 2**16
BURST_SECONDS: Final = 60.0
"""A key may ask for a minute's worth at once."""

_FILE: Final = "sppruner_rates.table"
_ENTRY: Final = struct.Struct("16sd")
_SIZE: Final = PLACES * _ENTRY.size
_FREE: Final = bytes(16)


class SharedRates:
    """Rates of up to PLACES keys; of this process alone where the server has no folder of its own."""

    def __init__(self) -> None:
        folder = meeting_folder()
        self._file = None if folder is None else _opened(folder / _FILE)
        self._table = mmap.mmap(-1 if self._file is None else self._file, _SIZE)

    def wait(self, key: str, per_minute: float) -> float:
        """Count a request of a key, if it may come now.

        Args:
            key: its SHA-256 in hexadecimal digits. per_minute: its requests in a minute.

        Returns:
            0 when the request may come; else the seconds after which it may, and it is not counted.
        """
        name, now = bytes.fromhex(key)[:16], time.monotonic()
        # One at least may always come, however low the rate.
        step = 60.0 / per_minute
        burst = max(BURST_SECONDS, step)
        with self._locked():
            place = self._place(name, now)
            held, even = self._entry(place)
            # What is behind is settled. What is further ahead than any request could have put it is of another rate, or
            # of another clock, where a folder outlived the machine's start.
            if held != name or not now <= even <= now + burst + 1.0:
                even = now
            # Rounding must not cost the last request of a burst.
            if (early := even + step - now - burst) > 1e-6:
                return early
            _ENTRY.pack_into(self._table, place, name, even + step)
        return 0.0

    def _place(self, name: bytes, now: float) -> int:
        """Where the key stands; else a place that is free, or whose key has rested so long that it is as if new."""
        first, rested = int.from_bytes(name[:4]) % PLACES, None
        for step in range(PLACES):
            place = (first + step) % PLACES * _ENTRY.size
            held, even = self._entry(place)
            if held == name:
                return place
            if held == _FREE:
                return place if rested is None else rested
            if rested is None and even < now:
                rested = place
        if rested is None:
            raise RuntimeError("there are more API keys in use than the table of their rates has places")
        return rested

    def _entry(self, place: int) -> tuple[bytes, float]:
        held, even = _ENTRY.unpack_from(self._table, place)
        return held, even

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _opened(file: Path) -> int:
    # What the operator's folder may hold under this name is not followed to another place, where it would be cut off.
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.ftruncate(handle, _SIZE)
    return handle
