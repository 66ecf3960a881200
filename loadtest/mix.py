"""Weighted choices written as text: `1:1,0.5:1,0.222:2` for keep ratios, `single:3,text:1` for scenarios."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SERVER_DEFAULT: Final = "default"
"""In a mix of ratios: send no keep_ratio and let the server choose."""


@dataclass(frozen=True, slots=True)
class Mix(Generic[T]):
    """Values and how often each is drawn, relative to the others."""

    values: tuple[T, ...]
    weights: tuple[float, ...]

    def draw(self, dice: random.Random) -> T:
        """One value; the same state of the dice gives the same value."""
        return dice.choices(self.values, self.weights)[0]


def parse_mix(text: str, read: Callable[[str], T]) -> Mix[T]:
    """Read `value:weight,...`; a weight left out is 1.

    Args:
        text: at least one value.
        read: turns one value's text into the value; raises ValueError for a bad one.

    Raises:
        ValueError: an empty mix, a value given twice, a bad value or a weight that is not above 0.
    """
    values: list[T] = []
    weights: list[float] = []
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        values.append(read(name.strip()))
        weights.append(_weight(weight) if colon else 1.0)
    if len(set(values)) < len(values):
        raise ValueError(f"a value stands twice in {text!r}")
    return Mix(tuple(values), tuple(weights))


def read_ratio(text: str) -> float | None:
    """A keep ratio in (0, 1], or None for the server's default."""
    if text == SERVER_DEFAULT:
        return None
    ratio = float(text)
    if not 0 < ratio <= 1:
        raise ValueError(f"a keep ratio must be in (0, 1], got {text}")
    return ratio


def show_ratio(ratio: float | None) -> str:
    """The inverse of `read_ratio`."""
    return SERVER_DEFAULT if ratio is None else f"{ratio:g}"


def _weight(text: str) -> float:
    weight = float(text)
    if not (weight > 0 and math.isfinite(weight)):
        raise ValueError(f"a weight must be above 0, got {text}")
    return weight
