"""The stages of the LLaVA bed: its encoder sees, its language model reads on a line, then both together.

No visual token is missing from any of its lessons, as none is from those of real models.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

import torch

from .lessons import Lesson, lesson, practice
from .llava_student import GRID, SIDE, new_llava_student
from .packing import Packed
from .stages import Stage, reading, seeing, together


def _draw_pictures(dice: random.Random, done: float) -> Lesson:
    """Crammed pictures, and more and more of the kind that questions are about."""
    if dice.random() < 0.2 + 0.4 * done:
        return lesson(dice, 8, SIDE, pictures=1, questions=1, cut_away=0)
    return practice(dice, 8, SIDE, GRID)


def _draw_symbols(dice: random.Random, done: float) -> Lesson:
    """Scenes that nobody draws, some in pairs."""
    if dice.random() < 0.15:
        return _on_a_line(lesson(dice, 3, SIDE, pictures=2, questions=10, drawn=False, cut_away=0))
    return _on_a_line(lesson(dice, 5, SIDE, pictures=1, questions=24, drawn=False, cut_away=0))


def _draw_all(dice: random.Random, done: float) -> Lesson:
    """What the model is for."""
    if dice.random() < 0.2:
        return _on_a_line(lesson(dice, 4, SIDE, pictures=2, questions=8, cut_away=0))
    return _on_a_line(lesson(dice, 8, SIDE, pictures=1, questions=12, cut_away=0))


def _on_a_line(batch: Lesson) -> Lesson:
    return replace(batch, packed=on_a_line(batch.packed))


def on_a_line(packed: Packed) -> Packed:
    """The same batch at the positions of a model that knows no rows and columns: each token is one further."""
    head = int((packed.question[0] > 0).int().argmax())
    positions = packed.positions + (head - int(packed.positions[0, 0, head]))
    positions[:, :, :head] = torch.arange(head)
    return replace(packed, positions=positions)


_LANGUAGE: Final = ("model.model.language", "model.lm_head", "probes")
_EYES: Final = ("model.model.vision_tower", "model.model.multi_modal_projector", "reader")
SEE: Final = Stage("llava-see", (), _EYES, 2e-3, 0.5, 1000, _draw_pictures, seeing, student=new_llava_student)
READ: Final = Stage(
    "llava-read",
    (),
    _LANGUAGE,
    8e-4,
    0.9,
    320,
    _draw_symbols,
    reading,
    holds_named=True,
    student=new_llava_student,
)
TOGETHER: Final = Stage(
    "llava-together",
    ("llava-see", "llava-read"),
    ("model", "reader", "probes"),
    1e-3,
    1.0,
    380,
    _draw_all,
    together,
    student=new_llava_student,
)
LLAVA_STAGES: Final[dict[str, Stage[Any]]] = {stage.name: stage for stage in (SEE, READ, TOGETHER)}
