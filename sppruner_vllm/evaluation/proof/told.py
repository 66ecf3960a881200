"""A proof that is told to stop stops, also where it is a container's first process.

The kernel drops what that one has no handler for, and `exec` takes handlers away: so a signal is held from before each
`exec` until whoever comes behind it listens. Nothing but the standard library.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


def listen() -> None:
    """Leave on a signal, also on one that was held."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves one
            signal.signal(number, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold() -> None:
    """Hold signals for who comes behind an `exec`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
