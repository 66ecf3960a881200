"""The demo's own questions, as the proof kit asks them.

An adapter: scenes and their questions come from sppruner_vllm/demo/world/, which knows nothing of the kit.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Final

from sppruner_vllm.demo.world.exam import ExamQuestion, exam

from .dataset import DatasetError, Picture, Question

USUAL_COUNT: Final = 2100


def demo_questions(number: int, seed: int) -> Iterable[Question]:
    """The first `number` questions about the scenes of `seed`; the same on every machine.

    Raises:
        DatasetError: what draws the scenes is not installed.
    """
    try:
        import skimage  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise DatasetError(f"the demo's scenes need {error.name}: install sppruner-vllm[train]") from error
    # Every scene has at least one question, so as many scenes as questions are enough.
    for index, asked in enumerate(islice(exam(seed, number), number)):
        yield _question(index, asked, seed)


def _question(index: int, asked: ExamQuestion, seed: int) -> Question:
    pictures = tuple(
        Picture(f"scene {seed}:{asked.group}:{place}", partial(_file, asked, place))
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


def _file(asked: ExamQuestion, place: int) -> bytes:
    buffer = io.BytesIO()
    asked.pictures()[place].save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
