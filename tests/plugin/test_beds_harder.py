"""Both beds answer what only the last stages of their training teach, of whole pictures; guessing gets a quarter."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppruner_vllm.demo.places import WILD_MODEL
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.evaluation.asking import Manner
from sppruner_vllm.evaluation.conditions import FULL
from sppruner_vllm.evaluation.demo_dataset import hard_questions
from sppruner_vllm.evaluation.engineless import EnginelessAsker

NUMBER = 12
FAMILIES = ("large 672", "second turn")


@pytest.mark.parametrize("bed", [CHECKPOINT, WILD_MODEL], ids=["demo", "wild"])
def test_large_pictures_and_second_turns_are_answered(bed: Path) -> None:
    asked = [one for one in hard_questions(8 * NUMBER, 77) if one.family in FAMILIES]
    assert len(asked) == len(FAMILIES) * NUMBER
    answers = EnginelessAsker(str(bed), Manner(max_tokens=6)).ask(asked, FULL)
    right = sum(answer.text in one.answers for answer, one in zip(answers, asked, strict=True))
    assert right > len(asked) / 2
