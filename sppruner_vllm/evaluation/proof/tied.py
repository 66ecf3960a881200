"""`python tied.py COMMAND…`: becomes the command, and is told to stop when whoever started it dies, however that dies.

A run that is killed must leave no server behind: the next one needs its memory. Linux alone has this; elsewhere the
command runs all the same. Nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def tied(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` so, by the Python it names first."""
    return [command[0], __file__, *command]


def main() -> None:
    """Never returns."""
    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before that
        sys.exit(1)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 (our own command)


if __name__ == "__main__":
    main()
