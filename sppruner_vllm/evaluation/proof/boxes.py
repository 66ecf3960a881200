"""RefCOCO: whether a box that a model names overlaps the right one by half.

Models name boxes in different units: shares of the picture, thousandths of it, or pixels of the picture as the model
got it, which is a smaller one under `downscale`. Nothing in an answer says which. So all three are tried, and the one
by which the *unreduced* pictures are answered best is that model's, for every method alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sppruner_vllm.planning.smaller import smaller_grid

Unit = Literal["shares", "thousandths", "pixels"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
ENOUGH: Final = 0.5
"""Intersection over union from which on a box counts as found."""

Box = Sequence[float]
"""Left, top, right, bottom."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """An answer to one question. said: as the model put it. right: in shares of the picture.
    width, height: of the picture as sent, in pixels. original, retained: its visual tokens. smaller: the model got a
    smaller picture in place of fewer tokens.
    """

    said: Box
    right: Box
    width: int
    height: int
    original: int
    retained: int
    smaller: bool = False

    def found(self, unit: Unit) -> float:
        """1 when the box overlaps the right one enough, in that unit."""
        wide, high = self._frame(unit)
        left, top, right, bottom = self.said
        return float(overlap((left / wide, top / high, right / wide, bottom / high), self.right) >= ENOUGH)

    def _frame(self, unit: Unit) -> tuple[float, float]:
        if unit == "shares":
            return 1.0, 1.0
        if unit == "thousandths":
            return 1000.0, 1000.0
        if not self.smaller:
            return self.width, self.height
        cell = math.sqrt(self.width * self.height / self.original)
        rows, columns = max(1, round(self.height / cell)), max(1, round(self.width / cell))
        fewer_rows, fewer_columns = smaller_grid((rows, columns), self.retained, 1)
        return self.width * fewer_columns / columns, self.height * fewer_rows / rows


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 when neither has an area."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    both = wide * high
    either = _area(one) + _area(other) - both
    return both / either if either > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def best_unit(full: Sequence[Boxed]) -> Unit:
    """The unit by which most of the unreduced pictures' boxes are found."""
    return max(UNITS, key=lambda unit: sum(answer.found(unit) for answer in full))
