"""Batches of texts: scenes told in words with a question each, and words in no order. No picture, no visual token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.demo.world.layout import draw_layout
from sppruner_vllm.demo.world.sheets import KINDS, draw_sheet
from sppruner_vllm.demo.world.telling import tell

from .lessons import ask
from .packing import SYSTEM, tail, token_ids, tokenizer

_SIZE: Final = 448
_CROWD: Final = (0.8, 3.5)


@dataclass(frozen=True, slots=True)
class Told:
    """A batch of texts.

    ids: (B, T) int64, padded at the end. real: (B, T) bool, False in padding. positions: (3, B, T) int64, all three
    planes equal. mask: (B, 1, T, T) bool.
    """

    ids: Tensor
    real: Tensor
    positions: Tensor
    mask: Tensor


def told(dice: random.Random, batch: int, *, pictures: int) -> Told:
    """A new batch of scenes in words, of 1 or 2 pictures each, with a question and its answer."""
    scenes = [
        tuple(draw_layout(dice.randrange(2**62), _SIZE, dice.uniform(*_CROWD)) for _ in range(pictures))
        for _ in range(batch)
    ]
    heads = [(*token_ids(SYSTEM), *token_ids(tell(scene, dice))) for scene in scenes]
    ends = [tail(ask(scene, 1, dice), len(head))[0] for head, scene in zip(heads, scenes, strict=True)]
    return _padded([(*head, *end) for head, end in zip(heads, ends, strict=True)])


def told_sheets(dice: random.Random, batch: int, size: int) -> Told:
    """A new batch of pages, tables and charts in words, as they fit a picture of that size."""
    sheets = [draw_sheet(dice.choice(KINDS), dice.randrange(2**62), size) for _ in range(batch)]
    heads = [(*token_ids(SYSTEM), *token_ids(" ".join(sheet.told) + "\n")) for sheet in sheets]
    ends = [tail([dice.choice(sheet.asked)], len(head))[0] for head, sheet in zip(heads, sheets, strict=True)]
    return _padded([(*head, *end) for head, end in zip(heads, ends, strict=True)])


def strewn(dice: random.Random, batch: int, length: int) -> Told:
    """Every token of the vocabulary as often as any other, in no order."""
    return _padded([[dice.randrange(len(tokenizer())) for _ in range(length)] for _ in range(batch)])


def _padded(texts: Sequence[Sequence[int]]) -> Told:
    length = max(map(len, texts))
    real = torch.arange(length) < torch.tensor([len(text) for text in texts]).unsqueeze(1)
    ids = torch.full(real.shape, token_ids("<|endoftext|>")[0])
    ids[real] = torch.tensor([token for text in texts for token in text])
    mask = torch.ones(length, length, dtype=torch.bool).tril().expand(len(texts), 1, length, length)
    return Told(ids, real, torch.arange(length).expand(3, *real.shape), mask)
