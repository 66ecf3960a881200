"""The standard sets: the task of lmms-eval that asks each, and how right one answer is.

lmms-eval's own functions judge the answers, except where they give no score per question (MMBench, RefCOCO).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sppruner_vllm.evaluation.scoring import Metric, score

Sample = Mapping[str, Any]
"""A line of lmms-eval's log of samples."""

_ROTATIONS: Final = 1_000_000
"""MMBench asks a question several times with its options in another order; its index grows by this much."""


@dataclass(frozen=True, slots=True)
class StandardSet:
    """A set of questions.

    name: for people. task: of lmms-eval. folder: where lmms-eval keeps the task's file. metric: what a score is.
    score: of a sample, in [0, 1]; None where it takes the picture's size too (boxes.py).
    unit: samples of one name are one question, which is right when all of them are.
    """

    name: str
    task: str
    folder: str
    metric: str
    score: Callable[[Sample], float] | None
    unit: Callable[[Sample], str] = lambda sample: str(sample["doc_id"])


def _graded(name: str) -> Callable[[Sample], float]:
    return lambda sample: float(sample[name])


def _within(name: str) -> Callable[[Sample], float]:
    return lambda sample: float(sample[name]["score"])


def mmbench_score(sample: Sample) -> float:
    """1 when the answer picks the right option, by its letter or by its text; no other model is asked to judge."""
    told = sample["gpt_eval_score"]
    letter = str(told["answer"])
    right = [letter, *([str(told[letter])] if told.get(letter) not in (None, "", "nan") else [])]
    return score(Metric("choice"), str(told["prediction"]), right)


def _question_of_rotations(sample: Sample) -> str:
    return str(int(sample["gpt_eval_score"]["index"]) % _ROTATIONS)


STANDARD: Final[Sequence[StandardSet]] = (
    StandardSet("OCRBench", "ocrbench", "ocrbench", "accuracy", _within("ocrbench_accuracy")),
    StandardSet("TextVQA", "textvqa_val", "textvqa", "VQA accuracy", _graded("exact_match")),
    StandardSet("DocVQA", "docvqa_val", "docvqa", "ANLS", _graded("anls")),
    StandardSet("ChartQA", "chartqa", "chartqa", "relaxed accuracy", _graded("relaxed_overall")),
    StandardSet("GQA", "gqa", "gqa", "exact match", _graded("exact_match")),
    StandardSet(
        "MMBench",
        "mmbench_en_dev_static",
        "mmbench",
        "all rotations right",
        mmbench_score,
        _question_of_rotations,
    ),
    StandardSet("POPE", "pope", "pope", "accuracy", _within("pope_accuracy")),
    StandardSet("RefCOCO", "refcoco_bbox_rec_val", "refcoco", "IoU ≥ 0.5", None),
)


def named(names: Sequence[str]) -> tuple[StandardSet, ...]:
    """The sets of these names, in the table's order; all of them for none.

    Raises:
        ValueError: there is no such set.
    """
    wanted = {name.casefold() for name in names}
    if unknown := wanted - {one.name.casefold() for one in STANDARD}:
        known = ", ".join(one.name for one in STANDARD)
        raise ValueError(f"there is no set {', '.join(sorted(unknown))}; choose of {known}")
    return tuple(one for one in STANDARD if not wanted or one.name.casefold() in wanted)
