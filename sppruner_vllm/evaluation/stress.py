"""`python -m sppruner_vllm.evaluation stress`: does the gate hold where questions say nothing about their pictures?

Every kind of query, as it is and disturbed, against the same selection without a question, on the same questions. A
difference beyond 0.3 points, or a share of open gates far from none, says that the gate let noise through.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import Progress

from .asking import Manner
from .bootstrap import Bootstrap, Interval, Scores
from .conditions import FULL, Condition
from .dataset import load_dataset
from .disturbing import DISTURBANCES
from .engineless import EnginelessAsker, Variant
from .examined import Report, scored
from .questions import Question

BLIND = Variant(params=replace(Variant().params, relevance=False))
ALLOWED = 0.003
"""Largest difference to the selection without a question that a disturbed one may make."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of query at one ratio.

    query, disturbed: which; None for what is not disturbed. opened: share of selections that the query steered.
    relative: accuracy as a share of the full pictures'. blind: its difference to the selection without a question.
    words: its difference to word embeddings as they are.
    """

    query: str
    disturbed: str | None
    ratio: float
    opened: float
    relative: Interval
    blind: Interval
    words: Interval

    @property
    def holds(self) -> bool:
        """Whether a disturbed query changed nothing."""
        return self.disturbed is None or abs(self.blind.value or 0.0) <= ALLOWED


def variants(depths: Sequence[float]) -> Iterator[tuple[str, str | None, Variant]]:
    """Names and variants: each kind of query as it is, then disturbed."""
    kinds = {"words": Variant()}
    for depth in depths:
        kinds[f"words and states at {depth:g}"] = Variant(depth=depth)
        kinds[f"states at {depth:g}"] = Variant(depth=depth, words=False)
    for name, variant in kinds.items():
        yield name, None, variant
        for kind, disturbance in DISTURBANCES.items():
            yield name, kind, replace(variant, disturbance=disturbance)


def run(
    asker: EnginelessAsker, questions: Sequence[Question], depths: Sequence[float], ratios: Sequence[float], draws: int
) -> list[Row]:
    """Ask under every variant at every ratio; word embeddings come first."""
    boot = Bootstrap([question.group or question.id for question in questions], draws)
    wanted = list(variants([*dict.fromkeys(depths)]))

    def marks(condition: Condition, variant: Variant, steered: list[bool]) -> Scores:
        answers = asker.ask_varied(questions, condition, variant, steered)
        return scored(questions, [answer.text for answer in answers])

    rows = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("examining", total=(len(wanted) + 1) * len(ratios) + 1)
        full = marks(FULL, Variant(), [])
        progress.advance(bar)
        for ratio in ratios:
            condition = Condition("focus_context", ratio)
            blind = marks(condition, BLIND, [])
            progress.advance(bar)
            words: Scores | None = None
            for name, kind, variant in wanted:
                steered: list[bool] = []
                found = marks(condition, variant, steered)
                words = found if words is None else words
                opened = float(np.mean(steered)) if steered else 0.0
                against = boot.difference(found, blind), boot.difference(found, words)
                rows.append(Row(name, kind, ratio, opened, boot.relative(found, full), *against))
                progress.advance(bar)
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: relative accuracy and open gates in per cent, differences in points with their 95 % interval."""
    lines = [
        "| query | disturbed | ratio | gates open, % | accuracy, % of full | to no question | to words | holds |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [
            row.query,
            row.disturbed or "",
            f"{row.ratio:g}",
            f"{100 * row.opened:.1f}",
            f"{100 * (row.relative.value or 0):.1f}",
            row.blind.points,
            "" if row.query == "words" and row.disturbed is None else row.words.points,
            "" if row.disturbed is None else "yes" if row.holds else "**no**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """Run the command. Returns the exit status: 0 whatever the table says.

    Raises:
        AskingFailed: the model cannot be asked so.
        DatasetError: there are no such questions.
    """
    questions = load_dataset(options.dataset, options.limit, options.seed)
    asker = EnginelessAsker(options.model, Manner(options.max_tokens, options.instruction))
    rows = run(asker, questions, options.depths, options.ratios, options.resamples)
    Report("stress", table(rows), len(questions), rows).keep(options)
    return 0
