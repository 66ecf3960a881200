"""Reduced prompts in vLLM against transformers, fed the same kept rows at their original positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cases import RATIOS, REDUCED
from engines import TOKENS, Reduced, ask, same_answer
from reference import Reference
from sppruner_vllm.planning.plan import retained_tokens

TOLERANCE = 2e-3
"""Largest difference of a logit, float32 on both sides, different kernels; the logits span some units."""


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("index", range(len(REDUCED)))
def test_a_reduced_prompt_answers_like_transformers(
    reduced: Reduced, reference: Reference, index: int, ratio: float
) -> None:
    answer, kept = reduced[index, ratio]
    tokens, logits = reference.answer(REDUCED[index], kept, TOKENS)
    same_answer(answer, tokens, logits)


@pytest.mark.parametrize("index", range(len(REDUCED)))
def test_every_image_keeps_exactly_its_budget(reduced: Reduced, index: int) -> None:
    totals = [width * height // 28**2 for _, sizes in REDUCED[index].turns for width, height in sizes]
    for ratio in RATIOS:
        kept = reduced[index, ratio][1]
        assert [len(image) for image in kept] == [retained_tokens(total, ratio) for total in totals]


def test_the_tolerance_tells_right_positions_from_wrong_ones(reduced: Reduced, reference: Reference) -> None:
    answer, kept = reduced[0, 0.222]
    moved = [[index + 1 if index % 12 < 11 else index for index in image] for image in kept]
    _, logits = reference.answer(REDUCED[0], moved, TOKENS)
    assert (answer.logits[0] - logits[0]).abs().max() > 10 * TOLERANCE


def test_an_unreduced_prompt_answers_like_transformers(llm: Any, reference: Reference) -> None:
    (answer,) = ask(llm, [REDUCED[2]], 1.0)
    tokens, logits = reference.answer(REDUCED[2], None, TOKENS)
    same_answer(answer, tokens, logits)


def test_logits_are_compared_at_a_scale_where_the_tolerance_is_small(reduced: Reduced) -> None:
    spread = torch.stack([answer.logits.std() for answer, _ in reduced.values()])
    assert spread.min() > 100 * TOLERANCE
