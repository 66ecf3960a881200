"""The report of a run: Markdown for people, JSON for programs, a picture for both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sppruner_vllm.evaluation.bootstrap import Interval
from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.markdown import markdown_table, percent

from .figures import Figures, SetFigures
from .folder import Plan
from .paired import Paired
from .published import FIGURES

MARKDOWN: Final = "report.md"
JSON: Final = "report.json"
PICTURE: Final = "proof.png"
_NEAR: Final = 4.0
"""Points of kept share within which a published figure stands beside ours."""


def write_report(folder: Path, plan: Plan, found: Figures) -> Path:
    """Write the report into `folder`, which exists; returns the Markdown file."""
    from .picture import write_picture  # late: matplotlib takes a second to load

    write_picture(found, folder / PICTURE)
    (folder / JSON).write_text(json.dumps(_plain(plan, found), indent=2) + "\n")
    file = folder / MARKDOWN
    file.write_text(markdown(plan, found))
    return file


def markdown(plan: Plan, found: Figures) -> str:
    """The report's text."""
    names = [one.name for one in found.sets]
    parts = [
        f"# {plan.model}: standard sets against keep ratio",
        _scope(found),
        f"![Share of the full picture's score]({PICTURE})",
        "## Share of the full picture's score",
        _means(found),
        markdown_table(
            ["method", "keep ratio", "mean of sets, %", *names],
            (
                [*_row(one), percent(found.mean[one]), *(percent(each.relative[one]) for each in found.sets)]
                for one in found.conditions
            ),
        ),
        "## Scores, %",
        markdown_table(
            ["method", "keep ratio", *(f"{one.name}, {one.metric} ({one.questions})" for one in found.sets)],
            ([*_row(one), *(percent(each.accuracy[one]) for each in found.sets)] for one in found.conditions),
        ),
        "## Visual tokens per question, mean",
        markdown_table(
            ["method", "keep ratio", *names],
            ([*_row(one), *(_count(each.tokens[one]) for each in found.sets)] for one in found.conditions),
        ),
        *_comparisons(found),
        "## Published figures beside them",
        _published(found),
        "## How it was measured",
        _facts(plan, found),
    ]
    return "\n\n".join(parts) + "\n"


def _scope(found: Figures) -> str:
    questions = sum(one.questions for one in found.sets)
    text = (
        f"{questions} questions of {len(found.sets)} sets, each asked under every setting through lmms-eval. In "
        f"brackets: 95 % intervals from {found.resamples} paired bootstrap resamples of pictures, not of questions. "
        "They are not corrected for the number of comparisons."
    )
    if refused := {one.name: one.refused for one in found.sets if one.refused}:
        told = ", ".join(f"{number} of {name}" for name, number in refused.items())
        text += f" Left out under every setting, since the server refused them under one: {told}."
    return text


def _means(found: Figures) -> str:
    text = "The mean counts every set alike."
    if found.unanswered:
        text += f" It leaves out {', '.join(found.unanswered)}: the full picture answers none of it."
    return text


def _comparisons(found: Figures) -> list[str]:
    opponents = list(dict.fromkeys(opponent for _, opponent in found.pooled))
    parts = []
    for opponent in opponents:
        pairs = [(one, test) for (one, other), test in found.pooled.items() if other == opponent]
        parts += [
            f"## Against {opponent} at equal tokens",
            "Difference in points, per set, with McNemar's exact test (of graded scores the sign test): p in "
            "parentheses. The last columns count questions of all sets that were answered better and worse.",
            markdown_table(
                ["method", "keep ratio", *(one.name for one in found.sets), "better", "worse", "p"],
                (
                    [*_row(one), *(_versus(each, one, opponent) for each in found.sets), *_tested(test)]
                    for one, test in pairs
                ),
            ),
        ]
    return parts


def _versus(one: SetFigures, condition: Condition, opponent: str) -> str:
    versus = one.versus[condition, opponent]
    return f"{percent(versus.difference, sign='+')} ({_p(versus.test.p)})"


def _tested(test: Paired) -> list[str]:
    return [str(test.better), str(test.worse), _p(test.p)]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _published(found: Figures) -> str:
    """Ours and others' at about the same share, most kept first."""
    ratios = list(dict.fromkeys(one.ratio for one in found.conditions if one != FULL))
    rows: list[Sequence[str]] = []
    for ratio in ratios:
        rows += [
            [f"**{one.method}**", f"{100 * ratio:.1f}", percent(found.mean[one]), f"this run: {len(found.sets)} sets"]
            for one in found.conditions
            if one != FULL and one.ratio == ratio
        ]
        near = [one for one in FIGURES if abs(one.kept - 100 * ratio) <= _NEAR and _nearest(one.kept, ratios) == ratio]
        rows += [
            [one.method + (" (trained)" if one.trained else ""), f"{one.kept:g}", f"{one.relative:.1f}", one.table]
            for one in near
        ]
    note = (
        "Published for Qwen2.5-VL-7B, each with its table: sets, prompts and settings differ from this run's and from "
        "one another's, and the same method moves by some four points between tables. They say what size of loss to "
        "expect, not who is ahead."
    )
    return note + "\n\n" + markdown_table(["method", "kept, %", "of full, %", "table"], rows)


def _nearest(kept: float, ratios: Sequence[float]) -> float:
    return min(ratios, key=lambda ratio: abs(100 * ratio - kept))


def _facts(plan: Plan, found: Figures) -> str:
    known = {"model": plan.model, "limit per set": "none" if plan.limit is None else str(plan.limit), **plan.facts}
    lines = [f"- {name}: {value}" for name, value in known.items() if value]
    lines += [f"- boxes of {one.name}: read as {one.boxes}" for one in found.sets if one.boxes]
    return "\n".join(lines)


def _row(condition: Condition) -> list[str]:
    return [condition.method, f"{condition.ratio:g}"]


def _count(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"


def _plain(plan: Plan, found: Figures) -> dict[str, object]:
    def intervals(of: Mapping[Condition, Interval]) -> dict[str, object]:
        return {str(condition): asdict(interval) for condition, interval in of.items()}

    return {
        "plan": asdict(plan),
        "resamples": found.resamples,
        "mean_of_sets": intervals(found.mean),
        "left_out_of_mean": found.unanswered,
        "sets": [
            {
                "name": one.name,
                "metric": one.metric,
                "questions": one.questions,
                "refused": one.refused,
                "boxes": one.boxes,
                "accuracy": intervals(one.accuracy),
                "relative": intervals(one.relative),
                "tokens": {str(condition): value for condition, value in one.tokens.items()},
                "against": {
                    f"{condition} against {other}": asdict(versus) for (condition, other), versus in one.versus.items()
                },
            }
            for one in found.sets
        ],
        "all_questions_against": {
            f"{condition} against {other}": asdict(test) for (condition, other), test in found.pooled.items()
        },
    }
