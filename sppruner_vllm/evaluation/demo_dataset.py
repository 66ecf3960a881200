"""The demo's own questions, as the evaluation asks them.

An adapter: scenes and their questions come from sppruner_vllm/demo/world/, which knows nothing of the evaluation. The
world is in a checkout only and imported late: from an installed wheel a dataset of one's own works as ever.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from PIL import Image

from .questions import DatasetError, Picture, Question
from .turns import Turn

if TYPE_CHECKING:
    from sppruner_vllm.demo.world.exam import ExamQuestion

USUAL_COUNT: Final = 2100
TUNING_SEED: Final = 11
"""Scenes of this seed chose the defaults; any other seed is one that tuning never saw."""


def demo_questions(number: int, seed: int) -> Iterable[Question]:
    """The first `number` questions about the scenes of `seed`; the same on every machine.

    Raises:
        DatasetError: what draws the scenes is not installed.
    """
    with what_draws_scenes():
        from sppruner_vllm.demo.world.exam import exam
    # Every scene has at least one question, so as many scenes as questions are enough.
    for index, asked in enumerate(islice(exam(seed, number), number)):
        yield _question(index, asked, seed)


def hard_questions(number: int, seed: int) -> Iterable[Question]:
    """As `demo_questions`, of the harder exam; the families take turns."""
    with what_draws_scenes():
        from sppruner_vllm.demo.world.hard_exam import hard_exam
    for index, asked in enumerate(islice(hard_exam(seed, number), number)):
        yield Question(
            id=f"hard {seed}:{index}",
            images=(Picture(f"hard scene {seed}:{index}", partial(_png, asked.picture)),),
            text=asked.asked.text,
            answers=(asked.asked.answer,),
            family=asked.family,
            group=str(asked.group),
            before=tuple(Turn(turn.text, turn.answer) for turn in asked.before),
            focus=None if asked.chosen_for is None else asked.chosen_for.text,
        )


@contextmanager
def what_draws_scenes() -> Iterator[None]:
    """Raises:
    DatasetError: what draws the scenes is not installed.
    """
    try:
        import skimage  # noqa: F401
        import sklearn  # noqa: F401

        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sppruner_vllm"):
            raise DatasetError(
                "the demo's questions are drawn in a checkout of the project only: name a JSONL file with --dataset"
            ) from error
        raise DatasetError(f"the demo's scenes need {error.name}: install sppruner-vllm[train]") from error


def _question(index: int, asked: ExamQuestion, seed: int) -> Question:
    pictures = tuple(
        Picture(f"scene {seed}:{asked.group}:{place}", _Scene(seed, asked.group, place, asked))
        for place in range(len(asked.layouts))
    )
    return Question(
        id=f"{seed}:{index}",
        images=pictures,
        text=asked.asked.text,
        answers=(asked.asked.answer,),
        family=asked.asked.family,
        group=str(asked.group),
    )


@dataclass(frozen=True, slots=True)
class _Scene:
    """A picture of the exam. Equal ones are one: whoever encodes pictures does so once for all questions about it."""

    seed: int
    group: int
    place: int
    asked: ExamQuestion = field(compare=False)

    def __call__(self) -> bytes:
        return _file(self)


@lru_cache(maxsize=32)
def _file(scene: _Scene) -> bytes:
    alone = replace(scene.asked, layouts=(scene.asked.layouts[scene.place],))
    return _png(lambda: alone.pictures()[0])


def _png(draw: Callable[[], Image.Image]) -> bytes:
    buffer = io.BytesIO()
    draw().save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
