"""Questions that training never saw: other scenes, and handwritten digits that it never drew.

Every picture is asked one question per family, every pair of pictures one question that takes both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image

from .layout import Layout, draw_layout
from .questions import Asked, askable, askable_of_two, choose
from .scene import render

SIZE: Final = 448
CROWD: Final = (1.5, 3.5)
"""The busier half of what training shows."""


@dataclass(frozen=True, slots=True)
class ExamQuestion:
    """A question about one or two pictures. group: equal for questions about the same pictures."""

    asked: Asked
    layouts: tuple[Layout, ...]
    group: int

    def pictures(self) -> list[Image.Image]:
        """The pictures, drawn anew at every call."""
        return [render(layout, held_out=True) for layout in self.layouts]


def exam(seed: int, scenes: int) -> Iterator[ExamQuestion]:
    """Up to seven questions for each of `scenes` groups: six about its first picture, one about it and a second one.

    Args:
        seed: same seed, same questions; seeds of the training cannot be reached from here.
    """
    for group in range(scenes):
        dice = random.Random(f"exam:{seed}:{group}")  # noqa: S311 (a game of dice, not a secret)
        first, second = (draw_layout(dice.randrange(2**62), SIZE, dice.uniform(*CROWD)) for _ in range(2))
        for pool in askable(first).values():
            if pool:
                yield ExamQuestion(dice.choice(pool), (first,), group)
        for asked in choose({"compare": askable_of_two(first, second)}, 1, dice):
            yield ExamQuestion(asked, (first, second), group)
