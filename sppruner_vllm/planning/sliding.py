"""How far the default ratio has slid under load: a pure step from one level to the next, and the ratio of a level.

It goes down at once when more requests wait, and back one level later than it went down, so that a queue that wavers
does not change the ratio with every request: another ratio is another set of cached rows and prefixes.
docs/use/api.md, "A default that follows the load".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LEVELS: Final = 8
"""Levels below the operator's default; at the last one the floor is in force."""

WHOLE: Final = 0
"""The level at which nothing has slid."""


@dataclass(frozen=True, slots=True)
class Slide:
    """The operator's rule.

    top: the default ratio without load. floor: the least it becomes, at most `top`; both in (0, 1].
    begins, ends: waiting requests up to which nothing slides, and from which on the floor is in force; begins < ends.
    """

    top: float
    floor: float
    begins: float
    ends: float

    def next_level(self, level: int, waiting: int) -> int:
        """The level that follows, in WHOLE to LEVELS.

        Args:
            level: in force. waiting: requests that wait now.
        """
        if waiting <= self.begins:
            return WHOLE
        reached = min(LEVELS, math.floor(LEVELS * (waiting - self.begins) / (self.ends - self.begins)))
        return min(max(level, reached), reached + 1)

    def ratio(self, level: int) -> float:
        """The default ratio at a level, in steps of a thousandth, at least the floor."""
        return max(self.floor, round(self.top - (self.top - self.floor) * level / LEVELS, 3))
