"""The stages of the "wild" test bed: the demo model behind words of another kind, and a merger fitted to it late.

Visual tokens of real models hardly resemble word embeddings, and resemble the states of middle layers better. Here that
is made by hand. Every word gets an embedding that says nothing but which word it is; two new layers in front of the
demo's learn, from text alone, to turn it into what the demo's layers know. Then all of that is frozen, and a merger
with random weights learns to see, from the loss of answers alone.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import torch
from torch import nn
from torch.nn.functional import normalize

from sppruner_vllm.demo.checkpoint import new_model
from sppruner_vllm.demo.forward import decode

from .large import draw_every_kind_whole
from .lessons import Lesson, lesson
from .losses import looking_and_answering
from .packing import tokenizer
from .stages import LARGE, MIDDLE, QUESTIONS, SMALL, Outcome, Stage
from .student import DEMO_SPEC, Student, demo_model
from .told import Told, strewn, told, told_sheets

FRONT: Final = 2
"""New layers between the word embeddings and the demo's layers."""

WILD_SPEC: Final = replace(DEMO_SPEC, layers=FRONT + DEMO_SPEC.layers)


def new_wild_student(seed: int) -> Student:
    """The demo model with new words, new layers in front and a new merger, all three random.

    Its directions are the demo's word embeddings, (vocabulary, D): what the front makes of the new ones.
    """
    torch.manual_seed(seed)
    model, demo = new_model(WILD_SPEC, tokenizer()), demo_model()
    merger = model.model.visual.merger
    model.model.visual.load_state_dict({**demo.model.visual.state_dict(), **_named("merger", merger)})
    language = demo.model.language_model
    for number, layer in enumerate(language.layers):
        model.model.language_model.layers[FRONT + number].load_state_dict(layer.state_dict())
    model.model.language_model.norm.load_state_dict(language.norm.state_dict())
    model.lm_head.load_state_dict(demo.lm_head.state_dict())
    student = Student(model, nn.Identity(), nn.ModuleDict(), language.embed_tokens.weight.detach())
    with torch.no_grad():
        table = student.language.embed_tokens.weight
        table.copy_(torch.randn_like(table) * WILD_SPEC.hidden**-0.5)
        for layer in student.language.layers[:FRONT]:
            layer.self_attn.o_proj.weight.zero_()
    return student


def _named(name: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{name}.{part}": value for part, value in module.state_dict().items()}


def _draw_told(dice: random.Random, done: float) -> Told:
    """Mostly scenes; some sheets of paper, and some words in no order, for questions may hold any."""
    turn = dice.random()
    if turn < 0.2:
        return strewn(dice, 6, 150)
    if turn < 0.4:
        return told_sheets(dice, 4, dice.choice((280, 336, 448)))
    return told(dice, 4, pictures=1 if turn < 0.8 else 2)


def _draw_pictures(dice: random.Random, done: float) -> Lesson:
    """Small pictures first, in the end mostly those of the size that the model is for. Nothing is ever missing."""
    turn = dice.random()
    if turn > 0.3 + 0.7 * done:
        return lesson(dice, 10, SMALL, pictures=1, questions=QUESTIONS, cut_away=0)
    if turn < 0.1:
        return lesson(dice, 6, SMALL, pictures=2, questions=QUESTIONS, cut_away=0)
    if turn < 0.25:
        return lesson(dice, 5, MIDDLE, pictures=1, questions=QUESTIONS + 4, cut_away=0)
    return lesson(dice, 4, LARGE, pictures=1, questions=QUESTIONS + 6, cut_away=0)


def _worded(student: Student, batch: Told) -> Outcome:
    """How far the front is from what the demo would have, and how often the nearest of its words is the right one."""
    embedded = student.model.get_input_embeddings()(batch.ids)
    states = decode(student.language, embedded, batch.positions, batch.mask, layers=FRONT)[-1][batch.real].float()
    ids = batch.ids[batch.real]
    wanted = student.directions[ids]
    apart = (states - wanted).square().sum() / wanted.square().sum()
    with torch.no_grad():
        nearest = (normalize(states, dim=-1) @ normalize(student.directions, dim=-1).T).argmax(-1)
    return apart, {"apart": apart.item(), "right": (nearest == ids).float().mean().item()}


_LAYERS: Final = tuple(f"model.model.language_model.layers.{number}." for number in range(FRONT))
WORDS: Final = Stage("wild-words", (), _LAYERS, 2e-3, 0.6, 600, _draw_told, _worded, student=new_wild_student)
SIGHT: Final = Stage(
    "wild-sight",
    ("wild-words",),
    ("model.model.visual.merger.",),
    4e-3,
    0.6,
    400,
    _draw_pictures,
    looking_and_answering,
    student=new_wild_student,
)
LARGE_SIGHT: Final = replace(
    SIGHT,
    name="wild-large-sight",
    starts_from=(WORDS.name, SIGHT.name),
    rate=1e-3,
    cool_down=1.0,
    steps=600,
    draw=draw_every_kind_whole,
)
WILD_STAGES: Final = {stage.name: stage for stage in (WORDS, SIGHT, LARGE_SIGHT)}
