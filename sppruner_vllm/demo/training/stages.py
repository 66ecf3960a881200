"""The first stages of training: see, read, both together; then read again, harder, and finish together."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from torch import Tensor, nn

from sppruner_vllm.demo.world.layout import TOKEN

from .lessons import Lesson, lesson, practice
from .losses import answering_loss, imagine, see, seeing_loss
from .student import Student, named_features, new_student

Outcome = tuple[Tensor, dict[str, float]]
"""A loss, and figures to show."""
Batch = TypeVar("Batch")

SMALL, MIDDLE, LARGE = 224, 336, 448
QUESTIONS: Final = 14
NOISE: Final = 0.4
"""Length of the noise on imagined visual tokens, whose features have length one."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[Batch]):
    """One stage.

    starts_from: stages whose last weights it begins with, later ones over earlier ones.
    learns: prefixes of the parameters that it changes. rate: highest learning rate. cool_down: share of the steps, at
    the end, over which the rate falls to zero. steps: its usual length.
    draw: a batch, given dice and the share of the stage that is done. loss: what it minimises.
    holds_named: keep the embeddings of words that name features where the vision encoder is being taught to point.
    student: makes the student that knows nothing yet, given a seed.
    """

    name: str
    starts_from: tuple[str, ...]
    learns: tuple[str, ...]
    rate: float
    cool_down: float
    steps: int
    draw: Callable[[random.Random, float], Batch]
    loss: Callable[[Student, Batch], Outcome]
    holds_named: bool = False
    student: Callable[[int], Student] = new_student

    def parameters(self, student: Student) -> list[tuple[str, nn.Parameter]]:
        every = (
            (f"{part}.{name}", weight)
            for part, module in student.parts().items()
            for name, weight in module.named_parameters()
        )
        return [(name, weight) for name, weight in every if name.startswith(self.learns)]


def _draw_pictures(dice: random.Random, done: float) -> Lesson:
    """Crammed pictures; a quarter of them shrunk, for pictures come in any size."""
    turn = dice.random()
    if done > 0.6 and turn < 0.15:
        return lesson(dice, 8, LARGE, pictures=1, questions=1)
    if turn < 0.4:
        return practice(dice, 32, dice.choice((MIDDLE, LARGE)), dice.randint(6, 8))
    return practice(dice, 32, SMALL, SMALL // TOKEN)


def _draw_symbols(dice: random.Random, done: float) -> Lesson:
    """Small pictures first; then pairs and larger ones too."""
    turn = dice.random() if done > 0.3 else 1.0
    return _symbols(dice, turn, (0.1, 0.25, 0.4, 0.55), QUESTIONS + 6)


def _draw_harder_symbols(dice: random.Random, done: float) -> Lesson:
    """Mostly as large as what the model is for."""
    return _symbols(dice, dice.random(), (0.12, 0.22, 0.4, 0.8), QUESTIONS + 10)


def _symbols(dice: random.Random, turn: float, upto: tuple[float, float, float, float], most: int) -> Lesson:
    """Scenes of one kind, nothing drawn.

    Args:
        turn: in [0, 1], says which kind. upto: where those of large pairs, small pairs, middle and large scenes end;
            small scenes have the rest. most: questions about a large scene.
    """
    if turn < upto[0]:
        return lesson(dice, 6, LARGE, pictures=2, questions=10, drawn=False)
    if turn < upto[1]:
        return lesson(dice, 20, SMALL, pictures=2, questions=QUESTIONS, drawn=False)
    if turn < upto[2]:
        return lesson(dice, 16, MIDDLE, pictures=1, questions=QUESTIONS + 4, drawn=False)
    if turn < upto[3]:
        return lesson(dice, 10, LARGE, pictures=1, questions=most, drawn=False)
    return lesson(dice, 24, SMALL, pictures=1, questions=QUESTIONS, drawn=False)


def _draw_all(dice: random.Random, done: float) -> Lesson:
    """What the model is for: full-size pictures, one or two, and some smaller and some shrunk ones."""
    turn = dice.random()
    if turn < 0.2:
        return lesson(dice, 5, LARGE, pictures=2, questions=8)
    if turn < 0.3:
        return lesson(dice, 24, LARGE, pictures=1, questions=QUESTIONS, grid=dice.randint(5, 10))
    if turn < 0.5:
        return lesson(dice, 14, MIDDLE, pictures=1, questions=QUESTIONS)
    return lesson(dice, 10, LARGE, pictures=1, questions=QUESTIONS + 6)


def seeing(student: Student, batch: Lesson) -> Outcome:
    return seeing_loss(student, see(student, batch), batch)


def reading(student: Student, batch: Lesson) -> Outcome:
    return answering_loss(student, imagine(student, batch, NOISE), batch)


def together(student: Student, batch: Lesson) -> Outcome:
    tokens = see(student, batch)
    seen, seen_parts = seeing_loss(student, tokens, batch)
    answered, answer_parts = answering_loss(student, tokens, batch)
    return answered + 0.2 * seen, {**seen_parts, **answer_parts}


def hold_named_directions(student: Student) -> None:
    """Let training leave the embeddings of words that name features as they are."""
    table = student.model.get_input_embeddings().weight
    tokens = [token for token, _ in named_features()]
    table.register_hook(lambda gradient: gradient.index_fill(0, gradient.new_tensor(tokens).long(), 0.0))


SEE: Final = Stage("see", (), ("model.model.visual", "reader"), 2e-3, 0.3, 4800, _draw_pictures, seeing)
_LANGUAGE: Final = ("model.model.language", "model.lm_head", "probes")
READ: Final = Stage("read", (), _LANGUAGE, 2e-3, 0.3, 2600, _draw_symbols, reading, holds_named=True)
_ALL: Final = ("model", "reader", "probes")
TOGETHER: Final = Stage("together", ("see", "read"), _ALL, 3e-4, 1.0, 1200, _draw_all, together)
REREAD: Final = Stage(
    "reread", ("together",), _LANGUAGE, 8e-4, 0.9, 2000, _draw_harder_symbols, reading, holds_named=True
)
FINISH: Final = Stage("finish", ("together", "reread"), _ALL, 2e-4, 1.0, 1000, _draw_all, together)
STAGES: Final[dict[str, Stage[Any]]] = {stage.name: stage for stage in (SEE, READ, TOGETHER, REREAD, FINISH)}
