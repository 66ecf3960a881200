"""Most shadows in any hour."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

HOUR: Final = 3600.0


class HourlyCap:
    """Of one API process; those of a server share the operator's number out."""

    def __init__(self, per_hour: int, rank: int, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            per_hour: of the whole server.
            rank: of this process, 0 <= rank < processes.
            clock: seconds, never going back.
        """
        self._most = per_hour // processes + (rank < per_hour % processes)
        self._taken: deque[float] = deque()
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether one more may be taken now."""
        now = self._clock()
        while self._taken and now - self._taken[0] >= HOUR:
            self._taken.popleft()
        return len(self._taken) < self._most

    def take(self) -> None:
        """One was taken."""
        self._taken.append(self._clock())
