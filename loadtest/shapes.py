"""How many users run at which time: steady, step, spike and soak, as plain stages.

An open loop (`poisson`) has no users that wait for answers: arrivals.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

STEPS: Final = 4
SPIKE_FACTOR: Final = 4
SOAK_RAMP: Final = 0.1

POISSON: Final = "poisson"


@dataclass(frozen=True, slots=True)
class Stage:
    """A number of users, held until a time in seconds from the start."""

    until_s: float
    users: int


def steady(users: int, seconds: float) -> tuple[Stage, ...]:
    """All users from the start."""
    return (Stage(seconds, users),)


def step(users: int, seconds: float) -> tuple[Stage, ...]:
    """A quarter of the users, then half, three quarters, all: each for a quarter of the time."""
    return tuple(Stage(seconds * part / STEPS, max(1, users * part // STEPS)) for part in range(1, STEPS + 1))


def spike(users: int, seconds: float) -> tuple[Stage, ...]:
    """A quarter of the users, all of them for the middle fifth of the time, then a quarter again."""
    calm = max(1, users // SPIKE_FACTOR)
    return Stage(seconds * 0.4, calm), Stage(seconds * 0.6, users), Stage(seconds, calm)


def soak(users: int, seconds: float) -> tuple[Stage, ...]:
    """A gentle start over the first tenth of the time, then all users to the end."""
    ramp = tuple(Stage(seconds * SOAK_RAMP * part / STEPS, max(1, users * part // STEPS)) for part in range(1, STEPS))
    return (*ramp, Stage(seconds, users))


SHAPES: Final[dict[str, Callable[[int, float], tuple[Stage, ...]]]] = {
    "steady": steady,
    "step": step,
    "spike": spike,
    "soak": soak,
}


def users_at(stages: Sequence[Stage], seconds: float) -> int | None:
    """How many users run at a time; None once the last stage is over."""
    return next((stage.users for stage in stages if seconds < stage.until_s), None)
