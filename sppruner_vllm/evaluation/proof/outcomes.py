"""From lmms-eval's log of samples and our kept answers to one outcome per question."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sppruner_vllm.evaluation.harness.kept_answers import KeptAnswer, read_answers
from sppruner_vllm.evaluation.lines import read_lines

from .boxes import Box
from .sets import Sample, StandardSet


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one question was answered under one condition.

    unit: its name in the set. content, picture: digests of all that was asked and of what was shown. score: in [0, 1],
    None when it is a box, whose unit is found later: said, right, width and height are as in `boxes.Boxed`.
    original, retained: visual tokens. refused: the server would not answer it.
    """

    unit: str
    content: str
    picture: str
    score: float | None
    original: int | None
    retained: int | None
    refused: bool
    said: Box | None = None
    right: Box | None = None
    width: int | None = None
    height: int | None = None


class Incomplete(RuntimeError):
    """lmms-eval ended without a result for every question; the message names its log."""


def collect(standard: StandardSet, task: str, samples: Path, answers: Mapping[str, KeptAnswer]) -> list[Outcome]:
    """The outcomes of a set under one condition.

    Args:
        standard: the set.
        task: the name that lmms-eval asked it under.
        samples: lmms-eval's log of this task.
        answers: by label, see `answers_of`.

    Raises:
        Incomplete: a sample has no answer of ours.
    """
    units: dict[str, list[tuple[Sample, KeptAnswer]]] = {}
    for sample in read_lines(samples):
        answer = answers.get(f"{task}:{sample['doc_id']}")
        if answer is None:
            raise Incomplete(f"question {sample['doc_id']} of {task} has no answer")
        units.setdefault(standard.unit(sample), []).append((sample, answer))
    return [_outcome(standard, unit, parts) for unit, parts in units.items()]


def _outcome(standard: StandardSet, unit: str, parts: Sequence[tuple[Sample, KeptAnswer]]) -> Outcome:
    first = parts[0][1]
    box = parts[0][0].get("refcoco_IoU") if standard.score is None else None
    return Outcome(
        unit=unit,
        content=" ".join(answer.key for _, answer in parts),
        picture=first.picture,
        score=None if standard.score is None else min(standard.score(sample) for sample, _ in parts),
        original=first.original,
        retained=first.retained,
        refused=any(answer.refused is not None for _, answer in parts),
        said=None if box is None else box["pred"],
        right=None if box is None else box["bbox"],
        width=first.width,
        height=first.height,
    )


def answers_of(path: Path, run: str) -> dict[str, KeptAnswer]:
    """The last answer of a run to every label."""
    return {answer.label: answer for answer in read_answers(path) if answer.run == run}


def write_outcomes(path: Path, run: str, outcomes: Iterable[Outcome]) -> None:
    """Keep a set's outcomes; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps({"run": run, "outcomes": [asdict(one) for one in outcomes]}))
    os.replace(draft, path)


def read_outcomes(path: Path, run: str | None) -> list[Outcome] | None:
    """What was kept of a set; None when there is nothing, or when it is another run's and one is named."""
    if not path.is_file():
        return None
    kept: dict[str, Any] = json.loads(path.read_text())
    if run is not None and kept["run"] != run:
        return None
    return [Outcome(**one) for one in kept["outcomes"]]
