"""Many questions about one picture as one training sequence.

Each question sees the picture and itself, never another question, and starts at the position it has when it is asked
alone. So training sees exactly what serving will.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from transformers import Qwen2TokenizerFast

from sppruner_vllm.demo.tokenizer import build_tokenizer
from sppruner_vllm.demo.world.questions import Asked
from sppruner_vllm.family import MediaSpan
from sppruner_vllm.worker.positions import initial_positions

IGNORED: Final = -100
SYSTEM: Final = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_REPLY: Final = "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of sequences.

    ids: (B, T) int64, image_pad where visual tokens go. positions: (3, B, T) M-RoPE. mask: (B, 1, T, T) bool.
    targets: (B, T) int64, the next token inside answers, IGNORED elsewhere. question: (B, T) int64, 0 in the shared
    part and in padding, the question's number from 1 on. visual: (B, T) bool.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    question: Tensor
    visual: Tensor


@lru_cache(maxsize=1)
def tokenizer() -> Qwen2TokenizerFast:
    """The demo model's tokenizer."""
    return build_tokenizer(32768)


@lru_cache(maxsize=8192)
def token_ids(text: str) -> tuple[int, ...]:
    """Ids of a text, special tokens included."""
    return tuple(tokenizer().encode(text, add_special_tokens=False))


def second_turn(first: Asked, then: Asked) -> Asked:
    """A question that comes after another one and its answer, of the second one's family."""
    before = f"{first.text}{_REPLY}{first.answer}<|im_end|>\n<|im_start|>user\n"
    return Asked(then.family, before + then.text, then.answer)


def pack(questions: Sequence[Sequence[Asked]], grid: int, pictures: int) -> Packed:
    """Sequences of scenes that all have the same number of pictures of the same size.

    Args:
        questions: per scene.
        grid: visual tokens along a picture's side.
        pictures: pictures per scene.
    """
    head, places = _head(grid, pictures)
    tails = [tail(asked, int(places.max()) + 1) for asked in questions]
    longest = max(len(each[0]) for each in tails)
    shape = len(questions), len(head) + longest
    ids = torch.full(shape, token_ids("<|endoftext|>")[0])
    positions = torch.zeros(3, *shape, dtype=torch.int64)
    targets = torch.full(shape, IGNORED)
    question = torch.zeros(shape, dtype=torch.int64)
    ids[:, : len(head)] = head
    positions[:, :, : len(head)] = places.unsqueeze(1)
    for row, (words, where, wanted, number) in enumerate(tails):
        span = slice(len(head), len(head) + len(words))
        ids[row, span] = torch.tensor(words)
        positions[:, row, span] = torch.tensor(where)
        targets[row, span] = torch.tensor(wanted)
        question[row, span] = torch.tensor(number)
    same = (question.unsqueeze(1) == 0) | (question.unsqueeze(1) == question.unsqueeze(2))
    mask = same & torch.ones(shape[1], shape[1], dtype=torch.bool).tril()
    return Packed(ids, positions, mask.unsqueeze(1), targets, question, ids == token_ids("<|image_pad|>")[0])


@lru_cache(maxsize=16)
def _head(grid: int, pictures: int) -> tuple[Tensor, Tensor]:
    """Ids and (3, T) positions of everything before the first question."""
    ids = list(token_ids(SYSTEM))
    spans = []
    for _ in range(pictures):
        ids += token_ids("<|vision_start|>")
        spans.append(MediaSpan(len(ids), grid**2, (1, grid, grid)))
        ids += [*token_ids("<|image_pad|>") * grid**2, *token_ids("<|vision_end|>")]
    return torch.tensor(ids), initial_positions(len(ids), spans)[0]


def tail(asked: Sequence[Asked], start: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Ids, positions, targets and question numbers of a scene's questions."""
    ids: list[int] = []
    places: list[int] = []
    targets: list[int] = []
    numbers: list[int] = []
    for number, question in enumerate(asked, start=1):
        prompt = (*token_ids(question.text), *token_ids(_REPLY))
        answer = (*token_ids(question.answer), *token_ids("<|im_end|>"))
        ids += prompt + answer[:-1]
        places += range(start, start + len(prompt) + len(answer) - 1)
        targets += [IGNORED] * (len(prompt) - 1) + list(answer)
        numbers += [number] * (len(prompt) + len(answer) - 1)
    return ids, places, targets, numbers
