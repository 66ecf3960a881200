"""The beds that were taught large pictures read them, and answer second turns, better than those they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppruner_vllm.demo.places import LARGE_MODEL, LARGE_WILD_MODEL, WILD_MODEL
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.evaluation.asking import Manner
from sppruner_vllm.evaluation.conditions import FULL
from sppruner_vllm.evaluation.demo_dataset import hard_questions
from sppruner_vllm.evaluation.engineless import EnginelessAsker

NUMBER = 12
FAMILIES = ("large 672", "second turn")


@pytest.mark.parametrize(
    ("bed", "before"), [(LARGE_MODEL, CHECKPOINT), (LARGE_WILD_MODEL, WILD_MODEL)], ids=["large", "large_wild"]
)
def test_more_questions_are_answered(bed: Path, before: Path) -> None:
    asked = [one for one in hard_questions(8 * NUMBER, 77) if one.family in FAMILIES]
    assert len(asked) == len(FAMILIES) * NUMBER

    def right(folder: Path) -> int:
        answers = EnginelessAsker(str(folder), Manner(max_tokens=6)).ask(asked, FULL)
        return sum(answer.text in one.answers for answer, one in zip(answers, asked, strict=True))

    assert right(bed) >= right(before) + NUMBER // 3
