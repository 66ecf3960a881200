"""Batches of scenes told in words, with their questions: no picture, no visual token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.questions import Asked
from sppruner_vllm.demo.world.sheets import KINDS, draw_sheet
from sppruner_vllm.demo.world.telling import tell

from .lessons import ask
from .packing import IGNORED, SYSTEM, tail, token_ids

LARGEST: Final = 448


@dataclass(frozen=True, slots=True)
class Told:
    """A batch of texts.

    ids: (B, T) int64. positions: (3, B, T) int64, all three planes equal. mask: (B, 1, T, T) bool.
    targets: (B, T) int64, the next token inside answers, IGNORED elsewhere. question: (B, T) int64, 0 in the telling
    and in padding, the question's number from 1 on. telling: (B, T) int64, the next token inside the telling, IGNORED
    elsewhere.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    question: Tensor
    telling: Tensor


def told(dice: random.Random, batch: int, *, pictures: int, questions: int, crowd: float = 3.5) -> Told:
    """A new batch of scenes in words.

    Args:
        pictures: 1 or 2 per sequence. questions: most per sequence. crowd: most things, as `draw_layout` takes it.
    """
    scenes = [
        tuple(draw_layout(dice.randrange(2**62), LARGEST, dice.uniform(0.3, max(0.6, crowd))) for _ in range(pictures))
        for _ in range(batch)
    ]
    asked = [ask(scene, questions, dice, harder=True) for scene in scenes]
    return pack_told([tell(scene, dice) for scene in scenes], asked)


def told_sheets(dice: random.Random, batch: int, size: int, questions: int) -> Told:
    """A new batch of pages, tables and charts in words, as they fit a picture of that size."""
    sheets = [draw_sheet(dice.choice(KINDS), dice.randrange(2**62), size) for _ in range(batch)]
    tellings = [" ".join(dice.sample(sheet.told, len(sheet.told))) + "\n" for sheet in sheets]
    return pack_told(tellings, [dice.sample(sheet.asked, min(questions, len(sheet.asked))) for sheet in sheets])


def pack_told(tellings: Sequence[str], questions: Sequence[Sequence[Asked]]) -> Told:
    """Texts and their questions; each question sees the text and itself, as if it were asked alone."""
    system, padding = token_ids(SYSTEM), token_ids("<|endoftext|>")[0]
    heads = [(*system, *token_ids(telling)) for telling in tellings]
    tails = [tail(asked, len(head)) for head, asked in zip(heads, questions, strict=True)]
    shape = len(heads), max(len(head) + len(end[0]) for head, end in zip(heads, tails, strict=True))
    ids, targets, telling = torch.full(shape, padding), torch.full(shape, IGNORED), torch.full(shape, IGNORED)
    places, question = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for row, (head, (words, where, wanted, number)) in enumerate(zip(heads, tails, strict=True)):
        start, end = len(head), len(head) + len(words)
        ids[row, :start], ids[row, start:end] = torch.tensor(head), torch.tensor(words)
        places[row, :start], places[row, start:end] = torch.arange(start), torch.tensor(where)
        targets[row, start:end], question[row, start:end] = torch.tensor(wanted), torch.tensor(number)
        telling[row, len(system) : start - 1] = torch.tensor(head[len(system) + 1 :])
    same = (question.unsqueeze(1) == 0) | (question.unsqueeze(1) == question.unsqueeze(2))
    mask = same & torch.ones(shape[1], shape[1], dtype=torch.bool).tril()
    return Told(ids, places.expand(3, *shape), mask.unsqueeze(1), targets, question, telling)
