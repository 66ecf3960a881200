"""The stages of the "wild" test bed: a language model that knows the world from words, and eyes fitted to it later.

Real models are made this way, and their visual tokens hardly resemble word embeddings. The language model learns from
text alone and is then frozen; tower and merger learn behind it from its loss. A helper loss says what each unit shows,
but only on the merger's input; no token is ever missing.
"""

from __future__ import annotations

import random
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sppruner_vllm.demo.checkpoint import new_model
from sppruner_vllm.demo.forward import decode, encode
from sppruner_vllm.demo.pieces import norm
from sppruner_vllm.demo.tiny_spec import TinyModelSpec
from sppruner_vllm.demo.vocabulary import FEATURES
from sppruner_vllm.demo.world.layout import TOKEN

from .lessons import Lesson, lesson, practice, sheet_lesson
from .losses import answers
from .packing import IGNORED, tokenizer
from .stages import LARGE, MIDDLE, QUESTIONS, SMALL, Outcome, Stage
from .student import Student
from .told import Told, told, told_sheets

WILD_SPEC: Final = TinyModelSpec(
    hidden=192,
    layers=6,
    heads=6,
    kv_heads=6,
    intermediate=384,
    vision_hidden=128,
    vision_depth=6,
    vision_heads=4,
    vision_intermediate=320,
    whole_image_blocks=(1, 3, 5),
    rope_theta=10_000.0,
    dtype="bfloat16",
)
"""Sizes of the wild model: deeper than the demo model, so that it has middle layers and a tower worth cutting."""

TELLING: Final = 0.1
"""Weight of the telling's own next-token loss beside that of the answers."""
SHOWING: Final = 0.2
"""Weight of the helper loss on the merger's input beside that of the answers."""
_UNIT: Final = 4
"""Patches that the merger makes one visual token from."""


def new_wild_student(seed: int) -> Student:
    """A wild student that knows nothing yet; its reader reads the merger's input, and it has no probes."""
    torch.manual_seed(seed)
    model = new_model(WILD_SPEC, tokenizer())
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.copy_(torch.randn_like(table) * WILD_SPEC.hidden**-0.5)
    reader = nn.Linear(_UNIT * WILD_SPEC.vision_hidden, len(FEATURES))
    return Student(model, reader, nn.ModuleDict(), torch.empty(0))


def _draw_told(dice: random.Random, done: float) -> Told:
    """A few things at first, and by the middle as many as the exam shows; later two pictures, and sheets of paper."""
    crowd = 0.3 + 3.2 * min(1.0, done / 0.5)
    turn = dice.random()
    if done > 0.3 and turn < 0.15:
        return told(dice, 8, pictures=2, questions=8, crowd=crowd)
    if done > 0.2 and turn > 0.65:
        return told_sheets(dice, 12, dice.choice((280, 336, 448) if done > 0.4 else (280,)), 8)
    return told(dice, 12, pictures=1, questions=12, crowd=crowd)


def _draw_seen(dice: random.Random, done: float) -> Lesson:
    """Crammed pictures of all sizes and sheets of paper, for practice in seeing."""
    turn = dice.random()
    if turn < 0.25:
        return sheet_lesson(dice, 12, 280, 1)
    if turn < 0.5:
        return practice(dice, 24, dice.choice((MIDDLE, LARGE)), dice.randint(6, 8))
    return practice(dice, 24, SMALL, SMALL // TOKEN)


def _draw_pictures(dice: random.Random, done: float) -> Lesson:
    """Small pictures first, then more and more that are as large as what the model is for, pairs and sheets."""
    turn = dice.random()
    if done > 0.15 and turn > 0.7:
        size = dice.choice((280, MIDDLE, LARGE) if done > 0.4 else (280, MIDDLE))
        return sheet_lesson(dice, 12 if size == 280 else 5, size, 8)
    if turn < 0.6 - 0.5 * done:
        return _scenes(dice, 16, SMALL, QUESTIONS)
    if turn < 0.65 - 0.3 * done:
        return _scenes(dice, 8, MIDDLE, QUESTIONS)
    if turn < 0.6 or done < 0.3:
        return _scenes(dice, 5, LARGE, QUESTIONS + 6)
    return lesson(dice, 3, LARGE, pictures=2, questions=8, cut_away=0)


def _scenes(dice: random.Random, batch: int, size: int, questions: int) -> Lesson:
    return lesson(dice, batch, size, pictures=1, questions=questions, cut_away=0, harder=True)


def _knowing(student: Student, batch: Told) -> Outcome:
    """Answers from the text, and the text itself."""
    states = decode(student.language, student.model.get_input_embeddings()(batch.ids), batch.positions, batch.mask)[-1]
    answered, parts = answers(student, states, batch.targets, batch.question)
    spoken = batch.telling != IGNORED
    telling = functional.cross_entropy(student.model.lm_head(states[spoken]).float(), batch.telling[spoken])
    return answered + TELLING * telling, {**parts, "telling": telling.item()}


def _showing(student: Student, batch: Lesson) -> Outcome:
    _, shown, parts = _look(student, batch)
    return shown, parts


def _sighted(student: Student, batch: Lesson) -> Outcome:
    """Answers through the frozen language model; what a unit shows is asked of the merger's input alone."""
    tokens, shown, seen = _look(student, batch)
    packed = batch.packed
    embedded = student.model.get_input_embeddings()(packed.ids)
    embedded = embedded.masked_scatter(packed.visual.unsqueeze(-1), tokens.to(embedded.dtype).flatten(0, 1))
    states = decode(student.language, embedded, packed.positions, packed.mask)[-1]
    answered, parts = answers(student, states, packed.targets, packed.question)
    return answered + SHOWING * shown, {**seen, **parts}


def _look(student: Student, batch: Lesson) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Visual tokens, and how far the merger's input is from telling what each shows."""
    if batch.pictures is None:
        raise ValueError("this lesson has no pictures")
    units: list[Tensor] = []
    tokens = encode(student.visual, batch.pictures, merger_input=units)
    read = student.reader(norm(student.visual.merger.ln_q, units[0]).flatten(2).float())
    loss = functional.binary_cross_entropy_with_logits(read, batch.shown, reduction="none").sum(-1).mean()
    return tokens, loss, {"read": loss.item()}


_LANGUAGE: Final = ("model.model.language", "model.lm_head")
_EYES: Final = ("model.model.visual", "reader")
WORDS: Final = Stage("wild-words", (), _LANGUAGE, 2e-3, 0.4, 6000, _draw_told, _knowing, student=new_wild_student)
SHOWN: Final = Stage("wild-shown", (), _EYES, 2e-3, 0.3, 3000, _draw_seen, _showing, student=new_wild_student)
SIGHT: Final = Stage(
    "wild-sight",
    ("wild-words", "wild-shown"),
    _EYES,
    1e-3,
    0.6,
    8000,
    _draw_pictures,
    _sighted,
    student=new_wild_student,
)
WILD_STAGES: Final = {stage.name: stage for stage in (WORDS, SHOWN, SIGHT)}
