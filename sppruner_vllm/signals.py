"""A program that is told to stop unwinds, also where it is a container's first process.

The kernel drops what that one has no handler for, and `exec` takes handlers away: so a signal is held from before each
`exec` until whoever comes behind it listens. Nothing but the standard library.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


def unwind_when_told() -> None:
    """Leave on a signal, so that what was begun is ended; also on one that was held."""
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def hold() -> None:
    """Hold signals for who comes behind an `exec`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
