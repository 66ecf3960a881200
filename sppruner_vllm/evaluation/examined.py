"""What exams of a small model without an engine have in common: how answers are scored, and what is kept of a run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from .bootstrap import Scores
from .engineless_model import EnginelessModel, Prompt
from .questions import Question
from .scoring import score

_BATCH: Final = 16


def answers_scored(
    model: EnginelessModel, questions: Sequence[Question], prompts: Sequence[Prompt], most: int
) -> Scores:
    """The score of each question's answer.

    Args:
        prompts: one for each question. most: tokens of an answer.
    """
    texts = [
        text for start in range(0, len(prompts), _BATCH) for text in model.answer(prompts[start : start + _BATCH], most)
    ]
    return scored(questions, texts)


def scored(questions: Sequence[Question], texts: Sequence[str]) -> Scores:
    """The score of each question's answer."""
    return np.array([score(one.metric, text, one.answers) for one, text in zip(questions, texts, strict=True)])


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found. name: of its files. table: markdown. questions: how many were asked. rows: of the table."""

    name: str
    table: str
    questions: int
    rows: Sequence[Any]

    def keep(self, options: argparse.Namespace, **facts: object) -> None:
        """Write the table and the rows beside each other, and show the table.

        Args:
            options: of the command. facts: further ones about the run.
        """
        out: Path = options.out
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{self.name}.md").write_text(f"{self.table}\n")
        run = {"model": options.model, "dataset": options.dataset, "seed": options.seed, "questions": self.questions}
        kept = {**run, **facts, "resamples": options.resamples, "rows": [asdict(row) for row in self.rows]}
        (out / f"{self.name}.json").write_text(f"{json.dumps(kept, indent=1)}\n")
        print(self.table)
