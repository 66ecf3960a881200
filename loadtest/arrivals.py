"""An open loop: sessions start at the times of a Poisson process, whether or not earlier ones were answered.

Closed loops hide overload: users that wait send less when the server slows down. Here the queue shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

LATE_S: Final = 0.05
LATE_SHARE: Final = 0.01


def poisson_times(rate: float, seed: int, seconds: float | None, count: int | None) -> Iterator[float]:
    """Arrival times in seconds from the start, ascending.

    Args:
        rate: mean arrivals per second.
        seed: the same seed gives the same times.
        seconds: no arrival after it; None is no limit.
        count: at most so many; None is no limit.
    """
    times = _endless(rate, seed)
    if count is not None:
        times = islice(times, count)
    for time in times:
        if seconds is not None and time >= seconds:
            return
        yield time


def _endless(rate: float, seed: int) -> Iterator[float]:
    dice = random.Random(f"arrivals {seed}")  # noqa: S311 (no secret)
    now = 0.0
    while True:
        now += dice.expovariate(rate)
        yield now


@dataclass(frozen=True, slots=True)
class Pace:
    """How well the generator kept to its times; the server has no part in it."""

    arrivals: int
    late: int
    worst_s: float

    @property
    def kept(self) -> bool:
        """False when more than one arrival in a hundred left over 50 ms late: the load was not the one asked for."""
        return self.late <= LATE_SHARE * self.arrivals


def run_open_loop(
    times: Iterable[float],
    start: Callable[[float], object],
    now: Callable[[], float],
    sleep: Callable[[float], None],
    running: Callable[[], bool] = lambda: True,
) -> Pace:
    """Start a session at each time, and never wait for one.

    Args:
        times: seconds from the start of the loop, ascending.
        start: begins a session and returns at once; gets the seconds it is late by.
        now: a monotonic clock.
        sleep: gives way to the sessions meanwhile.
        running: asked before every arrival; False ends the loop.
    """
    origin = now()
    arrivals = late = 0
    worst = 0.0
    for time in times:
        if (ahead := origin + time - now()) > 0:
            sleep(ahead)
        if not running():
            break
        lag = max(0.0, now() - origin - time)
        start(lag)
        arrivals += 1
        late += lag > LATE_S
        worst = max(worst, lag)
    return Pace(arrivals, late, worst)
