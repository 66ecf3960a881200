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
            place = self._place(name)
            even = float(_ENTRY.unpack_from(self._table, place)[1])
            # What is behind is settled. What is further ahead than any request could have put it is of another rate, or
            # of another clock, where a folder outlived the machine's start.
            if not now <= even <= now + burst + 1.0:
                even = now
            # Rounding must not cost the last request of a burst.
            if (early := even + step - now - burst) > 1e-6:
                return early
            _ENTRY.pack_into(self._table, place, name, even + step)
        return 0.0

    def _place(self, name: bytes) -> int:
        """Where the key stands, or may stand."""
        first = int.from_bytes(name[:4]) % PLACES
        for step in range(PLACES):
            place = (first + step) % PLACES * _ENTRY.size
            held, _ = _ENTRY.unpack_from(self._table, place)
            if held in (name, _FREE):
                return place
        raise RuntimeError("there are more API keys than the table of their rates has places")

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
