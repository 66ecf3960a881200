"""The stages of the "large" test beds: the demo and the wild one go on, with pictures of up to 1,008 pixels a side.

Both were taught up to 448 pixels, and understand a larger picture the better the fewer of its tokens they get, however
these were chosen. These two say what a selection is worth to a model that knows large pictures. They are also taught
what the harder exam asks: sheets of paper, questions of two hops, second turns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from torch import nn

from sppruner_vllm.demo.places import LARGE_MODEL, WILD_MODEL
from sppruner_vllm.demo.world.layout import Layout
from sppruner_vllm.demo.world.questions import Asked, askable, askable_by_two_hops, choose
from sppruner_vllm.demo_model import CHECKPOINT

from .lessons import CUT_AWAY, Lesson, lesson, sheets
from .losses import looking_and_answering
from .packing import second_turn
from .stages import LARGE, Stage
from .student import Student, written_model
from .wild import behind_front

LARGER, LARGEST = 672, 1008
_QUESTIONS: Final = 24


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


def _draw_whole(dice: random.Random, done: float) -> Lesson:
    """Nothing is ever missing, as in all training of the wild bed."""
    return _draw(0.0, dice)


def new_large_student(seed: int) -> Student:
    """The demo model as it is shipped, to go on with. `seed` changes nothing."""
    model = written_model(CHECKPOINT)
    return Student(model, nn.Identity(), nn.ModuleDict(), model.get_input_embeddings().weight.detach())


def new_large_wild_student(seed: int) -> Student:
    """The large demo behind the words, the front and the merger of the wild bed.

    Raises:
        OSError: the large demo has not been made.
    """
    return behind_front(written_model(WILD_MODEL), written_model(LARGE_MODEL))


_LANGUAGE: Final = ("model.model.language_model.layers", "model.model.language_model.norm", "model.lm_head")
"""Its word embeddings stay: the wild bed's front makes them of its own."""
STUDY: Final = Stage(
    "large",
    (),
    ("model.model.visual", *_LANGUAGE),
    4e-4,
    1.0,
    1600,
    _draw_some_cut,
    looking_and_answering,
    student=new_large_student,
)
LARGEST_STUDY: Final = replace(STUDY, name="largest", starts_from=(STUDY.name,), steps=1400, draw=_draw_the_largest)
SIGHT: Final = Stage(
    "large-wild-sight",
    (),
    ("model.model.visual.merger.",),
    1e-3,
    1.0,
    300,
    _draw_whole,
    looking_and_answering,
    student=new_large_wild_student,
)
LARGE_STAGES: Final = {stage.name: stage for stage in (STUDY, LARGEST_STUDY)}
LARGE_WILD_STAGES: Final = {SIGHT.name: SIGHT}
