"""What training minimises: answers, and dense targets for every visual token."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sppruner_vllm.demo.forward import decode
from sppruner_vllm.demo.vocabulary import OBJECTS

from .lessons import Lesson
from .packing import IGNORED
from .student import Student


def see(student: Student, lesson: Lesson) -> Tensor:
    """(B * pictures, N, D) visual tokens of a lesson's pictures."""
    if lesson.pictures is None:
        raise ValueError("this lesson has no pictures")
    return student.look(student.model, lesson.pictures)


def imagine(student: Student, lesson: Lesson, noise: float) -> Tensor:
    """What a perfect encoder would give, with noise of that length added: (B * pictures, N, D)."""
    clean: Tensor = lesson.shown @ student.directions
    return clean + torch.randn_like(clean) * (noise / math.sqrt(clean.shape[-1]))


def seeing_loss(student: Student, tokens: Tensor, lesson: Lesson) -> tuple[Tensor, dict[str, float]]:
    """How far visual tokens are from showing what they should, in place and as read by a linear layer."""
    tokens = tokens.float()
    read = functional.binary_cross_entropy_with_logits(student.reader(tokens), lesson.shown, reduction="none")
    apart = (tokens - lesson.shown @ student.directions).square().sum(-1)
    found = (tokens @ student.directions.T > 0.5) == (lesson.shown > 0.5)
    things = lesson.shown[..., : len(OBJECTS)]
    clear = ((things > 0.9) | (things < 0.1)).all(-1) & (things[..., -1] < 0.5)
    exact = found[..., : len(OBJECTS) - 2].all(-1)[clear].float().mean()
    loss = read.sum(-1).mean() + apart.mean()
    parts = {"read": read.sum(-1).mean(), "apart": apart.mean(), "exact": exact}
    return loss, {name: part.item() for name, part in parts.items()}


def answering_loss(student: Student, tokens: Tensor, lesson: Lesson) -> tuple[Tensor, dict[str, float]]:
    """How badly questions are answered, given visual tokens; and how badly hidden states know where they are."""
    states = read_on(student, tokens, lesson)
    answered, parts = answers(student, states[-1], lesson.packed.targets, lesson.packed.question)
    probe = _probing_loss(student, states, lesson)
    return answered + 0.3 * probe, {**parts, "probe": probe.item()}


def read_on(student: Student, tokens: Tensor, lesson: Lesson) -> list[Tensor]:
    """(B, T, D) after each layer of the language model, given visual tokens."""
    packed = lesson.packed
    embedded = student.model.get_input_embeddings()(packed.ids)
    embedded = embedded.masked_scatter(packed.visual.unsqueeze(-1), tokens.to(embedded.dtype).flatten(0, 1))
    # What nobody looks at is not there: kept tokens stay at their positions, as after a reduction.
    unseen = torch.zeros_like(packed.visual).masked_scatter(packed.visual, lesson.absent.flatten())
    mask = packed.mask & ~unseen[:, None, None, :] | torch.eye(packed.ids.shape[1], dtype=torch.bool)
    return decode(student.language, embedded, packed.positions, mask)


def looking_and_answering(student: Student, lesson: Lesson) -> tuple[Tensor, dict[str, float]]:
    """How badly questions are answered, from the pictures on, and nothing else."""
    states = read_on(student, see(student, lesson), lesson)
    return answers(student, states[-1], lesson.packed.targets, lesson.packed.question)


def answers(student: Student, states: Tensor, targets: Tensor, question: Tensor) -> tuple[Tensor, dict[str, float]]:
    """How badly questions are answered, given last hidden states (B, T, D), and the targets and numbers of a batch."""
    asked = targets != IGNORED
    logits = student.model.lm_head(states[asked]).float()
    answer = functional.cross_entropy(logits, targets[asked])
    return answer, {"answer": answer.item(), **_scores(logits, targets, question)}


def _probing_loss(student: Student, states: list[Tensor], lesson: Lesson) -> Tensor:
    """Dense targets for the language model's own view of each visual token."""
    early, later = (states[layer][lesson.packed.visual].float() for layer in (1, 2))
    pictures, size = lesson.shown.shape[0], lesson.shown.shape[1]
    index = torch.arange(size).repeat(pictures)
    places: dict[str, Any] = {"row": index // lesson.grid, "column": index % lesson.grid}
    per_scene = len(lesson.scenes[0])
    places["picture"] = torch.arange(pictures).remainder(per_scene).repeat_interleave(size)
    loss = sum(functional.cross_entropy(student.probes[name](early), target) for name, target in places.items())
    for number, name in enumerate(("right of", "below")):
        anchor = lesson.anchor[..., number].flatten()
        known = anchor != IGNORED
        loss = loss + functional.cross_entropy(student.probes[name](later[known]), anchor[known])
    return torch.as_tensor(loss)


@torch.no_grad()
def _scores(logits: Tensor, targets: Tensor, question: Tensor) -> dict[str, float]:
    """Share of questions answered exactly, as far as each token is right given those before it."""
    asked = targets != IGNORED
    right = (logits.argmax(-1) == targets[asked]).float()
    sequence = torch.arange(len(targets)).unsqueeze(1).expand_as(targets)[asked]
    key = sequence * 1000 + question[asked]
    _, group = key.unique(return_inverse=True)
    whole = torch.ones(int(group.max()) + 1).scatter_reduce(0, group, right, "amin")
    return {"right": whole.mean().item()}
