"""The last stages of training: pictures of up to 1,008 pixels a side, and all else that the harder exam asks.

A model that was taught 448 pixels alone understands a larger picture the better the fewer of its tokens it gets,
however these were chosen, so that it says nothing about how to choose. Sheets of paper, questions of two hops and
second turns come in here too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sppruner_vllm.demo.world.layout import Layout
from sppruner_vllm.demo.world.questions import Asked, askable, askable_by_two_hops, choose

from .lessons import CUT_AWAY, Lesson, lesson, sheets
from .losses import looking_and_answering
from .packing import second_turn
from .stages import FINISH, LARGE, Stage

LARGER, LARGEST = 672, 1008
_QUESTIONS: Final = 24
_OF_EVERY_KIND: Final = (0.15, 0.35, 0.55)
_Draw = Callable[[random.Random, float], Lesson]


def ask_harder(scene: Sequence[Layout], number: int, dice: random.Random) -> list[Asked]:
    """Up to `number` questions about one picture; some of two hops, and a quarter of the others as second turns."""
    asked = choose({**askable(scene[0]), "two hops": askable_by_two_hops(scene[0])}, number, dice)
    return [
        second_turn(asked[place - 1], one) if place and dice.random() < 0.25 else one for place, one in enumerate(asked)
    ]


def _draw(cut_away: float, dice: random.Random, upto: tuple[float, float, float] = (0.2, 0.35, 0.65)) -> Lesson:
    """About as many visual tokens each time: sheets, pictures of the size that was taught before, and larger ones.

    Args:
        upto: where sheets, pictures of `LARGE` and of `LARGER` pixels end in [0, 1]; the largest have the rest.
    """
    turn = dice.random()
    if turn < upto[0]:
        return sheets(dice, 5, LARGE, _QUESTIONS)
    size, batch = (LARGE, 5) if turn < upto[1] else (LARGER, 2) if turn < upto[2] else (LARGEST, 1)
    return lesson(dice, batch, size, pictures=1, questions=_QUESTIONS, cut_away=cut_away, asking=ask_harder)


def _draw_some_cut(dice: random.Random, done: float) -> Lesson:
    """With tokens missing as often as in all training of the demo model."""
    return _draw(CUT_AWAY, dice)


def _draw_the_largest(dice: random.Random, done: float) -> Lesson:
    """Mostly of the largest, and whole twice as often: of these the model understood more with tokens missing."""
    return _draw(CUT_AWAY / 2, dice, (0.2, 0.25, 0.45))


def _draw_every_kind(dice: random.Random, done: float) -> Lesson:
    """Pairs of pictures come back, which the other two stages never show, and beside them all that those taught."""
    return _every_kind(dice, CUT_AWAY, CUT_AWAY / 2, _OF_EVERY_KIND)


def _draw_the_usual(dice: random.Random, done: float) -> Lesson:
    """Half of all pictures alone are of the size that the model is for, which the other lessons made it worse at."""
    return _every_kind(dice, CUT_AWAY, CUT_AWAY / 2, (0.1, 0.6, 0.75))


def _draw_with_gaps(dice: random.Random, done: float) -> Lesson:
    """Mostly of that size. As many tokens are missing as before larger ones came, or it counts by their number."""
    return _every_kind(dice, CUT_AWAY, CUT_AWAY, (0.08, 0.8, 0.9))


def draw_every_kind_whole(dice: random.Random, done: float) -> Lesson:
    """Nothing is ever missing, as in all training of the wild bed."""
    return _every_kind(dice, 0.0, 0.0, _OF_EVERY_KIND)


def _every_kind(dice: random.Random, pairs_cut: float, others_cut: float, upto: tuple[float, float, float]) -> Lesson:
    """Pairs of pictures in three of ten lessons; others as `_draw` has them."""
    if dice.random() < 0.3:
        return lesson(dice, 3, LARGE, pictures=2, questions=12, cut_away=pairs_cut)
    return _draw(others_cut, dice, upto)


_SEEING_AND_READING: Final = (
    "model.model.visual",
    "model.model.language_model.layers",
    "model.model.language_model.norm",
    "model.lm_head",
)
"""Word embeddings stay as they are: visual tokens were taught to resemble them, and the wild bed's front makes them."""
LARGER_PICTURES: Final = Stage(
    "large",
    (FINISH.name,),
    _SEEING_AND_READING,
    4e-4,
    1.0,
    1600,
    _draw_some_cut,
    looking_and_answering,
)


def _after(before: Stage[Lesson], name: str, rate: float, steps: int, draw: _Draw) -> Stage[Lesson]:
    """One that goes on from another, with other lessons."""
    return replace(before, name=name, starts_from=(FINISH.name, before.name), rate=rate, steps=steps, draw=draw)


LARGEST_PICTURES: Final = _after(LARGER_PICTURES, "largest", 4e-4, 1400, _draw_the_largest)
EVERY_KIND: Final = _after(LARGEST_PICTURES, "every-kind", 4e-4, 1600, _draw_every_kind)
THE_USUAL: Final = _after(EVERY_KIND, "the-usual", 3e-4, 1000, _draw_the_usual)
GAPS: Final = _after(THE_USUAL, "gaps", 2e-4, 450, _draw_with_gaps)
LARGE_STAGES: Final = {stage.name: stage for stage in (LARGER_PICTURES, LARGEST_PICTURES, EVERY_KIND, THE_USUAL, GAPS)}
