"""How much of the machine other programs took during a run: without knowing that, a ratio is worth little."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")


class Disturbance:
    """Counts from its making on; only Linux says."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy(), _own()

    def share(self) -> float | None:
        """Part of all cores' time that went to programs which are neither this one nor ended children of it."""
        if (busy := _busy()) is None or self._busy is None:
            return None
        passed = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return max(0.0, (busy - self._busy) - (_own() - self._own)) / passed


def _busy() -> float | None:
    """Seconds that all cores worked since the machine started."""
    if not _STAT.is_file():
        return None
    user, nice, system, _, _, irq, soft, steal, *_ = map(int, _STAT.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """Seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
