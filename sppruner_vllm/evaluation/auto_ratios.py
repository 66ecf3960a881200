"""`python -m sppruner_vllm.evaluation auto`: a ratio that fits each picture, beside one for all and smaller pictures.

What `keep_ratio: "auto"` keeps of each picture is planned as served. Beside it stands one ratio that keeps as many
tokens in the mean, with the same method and as a smaller picture, and what other ratios come to.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sppruner_vllm.planning.plan import retained_tokens
from sppruner_vllm.reduction import DEFAULT_METHOD

from .asking import Answer, Manner
from .bootstrap import Bootstrap, Interval
from .conditions import FULL, Condition
from .dataset import load_dataset
from .engineless import EnginelessAsker, Variant
from .examined import Report, scored
from .questions import Question

AUTO: Final = "auto"
WHOLE: Final = "whole"
EQUAL: Final = "one ratio, as many tokens"
SMALLER: Final = "smaller pictures, about as many"
_STEPS: Final = 1000
"""Ratios that are looked through for the one that keeps as many tokens."""


@dataclass(frozen=True, slots=True)
class Row:
    """What keeps tokens. ratio: of all pictures, None where each has its own. tokens: mean of a question.

    accuracy: share of right answers. relative: as a share of that with whole pictures. better: what `auto` has more.
    """

    kept_by: str
    ratio: float | None
    tokens: float
    accuracy: Interval
    relative: Interval
    better: Interval


def equal_ratio(tokens: Sequence[int], total: int) -> float:
    """The ratio at which pictures of so many visual tokens keep nearest to `total` of all, in thousandths."""
    ratios = [step / _STEPS for step in range(1, _STEPS + 1)]
    return min(ratios, key=lambda ratio: abs(sum(retained_tokens(own, ratio) for own in tokens) - total))


def examine(
    asker: EnginelessAsker, questions: Sequence[Question], ratios: Sequence[float], resamples: int
) -> list[Row]:
    """All ways on the same questions; `auto` first.

    Args:
        ratios: of further rows.
    """
    draws = Bootstrap([question.group or question.id for question in questions], resamples)
    whole = asker.ask(questions, FULL)
    auto = asker.ask_varied(questions, Condition(DEFAULT_METHOD, 1.0), Variant(auto=True))
    sizes = [size for question in questions for size in asker.sizes(question)]
    equal = equal_ratio(sizes, sum(answer.retained or 0 for answer in auto))
    asked: list[tuple[str, float | None, list[Answer]]] = [(AUTO, None, auto), (WHOLE, 1.0, whole)]
    for name, condition in (
        (EQUAL, Condition(DEFAULT_METHOD, equal)),
        (SMALLER, Condition("downscale", equal)),
        *(("one ratio", Condition(DEFAULT_METHOD, ratio)) for ratio in ratios),
    ):
        asked.append((name, condition.ratio, asker.ask(questions, condition)))
    marks = [scored(questions, [answer.text for answer in answers]) for _, _, answers in asked]
    return [
        Row(
            name,
            ratio,
            float(np.mean([answer.retained or 0 for answer in answers])),
            draws.mean(own),
            draws.relative(own, marks[1]),
            draws.difference(marks[0], own),
        )
        for (name, ratio, answers), own in zip(asked, marks, strict=True)
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown: accuracy in per cent, differences in points with their 95 % interval."""
    lines = [
        "| kept by | ratio | tokens | right, % | of whole, % | `auto` better by, points |",
        "|---|---:" + "|---:" * 4 + "|",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:g}"
        figures = f"{row.tokens:.1f} | {100 * (row.accuracy.value or 0):.1f} | {100 * (row.relative.value or 0):.1f}"
        lines.append(f"| {row.kept_by} | {ratio} | {figures} | {'' if row.kept_by == AUTO else row.better.points} |")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """Run the command. Returns the exit status: 0 whatever the table says.

    Raises:
        DatasetError: there are no such questions.
    """
    questions = load_dataset(options.dataset, options.limit, options.seed)
    asker = EnginelessAsker(options.model, Manner(max_tokens=options.max_tokens, seed=options.seed))
    rows = examine(asker, questions, options.ratios, options.resamples)
    Report("auto", table(rows), len(questions), rows).keep(options)
    return 0
