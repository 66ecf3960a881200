"""The report as Markdown: one table of figures, one of verdicts, one per family, and how it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .bootstrap import Interval
from .records import Header
from .summary import Figures, Row, Summary

_TITLES = {
    "accuracy.png": "Accuracy against tokens",
    "methods.png": "Method by method",
    "families.png": "Accuracy by family",
    "speed.png": "Speed",
}


def markdown(header: Header, summary: Summary, plots: Sequence[str]) -> str:
    """The report.

    Args:
        header: the run.
        summary: its figures.
        plots: file names beside the report.
    """
    parts = [
        f"# {header.model}: answers against keep ratio",
        _scope(header, summary),
        "## Accuracy and cost",
        markdown_table(
            ["method", "keep ratio", "visual tokens", "accuracy, %", "of full, %", "TTFT, ms", "questions/s"],
            (_figures_row(row) for row in summary.rows),
        ),
    ]
    compared = [row for row in summary.rows if row.overall.against]
    if compared:
        parts += [
            f"## Wins, ties, losses against {summary.opponent}",
            "Difference in percentage points at equal keep ratio, question by question. A win's interval lies above 0, "
            f"a loss's below; anything else is a tie. Families: wins / ties / losses over {len(summary.families)}. "
            "The intervals are not corrected for the number of comparisons.",
            markdown_table(
                ["method", "keep ratio", "difference", "overall", "families", "lost families"],
                map(_verdict_row, compared),
            ),
        ]
    if len(summary.families) > 1:
        parts += [
            "## Accuracy by family, %",
            markdown_table(
                [
                    "method",
                    "keep ratio",
                    *(f"{name} ({summary.full.families[name].questions})" for name in summary.families),
                ],
                (
                    [
                        row.method,
                        f"{row.ratio:g}",
                        *(percent(row.families[name].accuracy) for name in summary.families),
                    ]
                    for row in summary.rows
                ),
            ),
        ]
    if plots:
        parts += ["## Plots", *(f"![{_TITLES.get(name, name)}]({name})" for name in plots)]
    parts += ["## How it was measured", _facts(header)]
    return "\n\n".join(parts) + "\n"


def _scope(header: Header, summary: Summary) -> str:
    text = (
        f"{summary.complete} questions of `{header.dataset}` about {summary.groups} pictures or sets of pictures, "
        f"each asked under every setting. In brackets: 95 % intervals from {summary.resamples} paired bootstrap "
        "resamples of pictures, not of questions."
    )
    if summary.groups < 2:
        text += " With a single picture there is nothing to resample, so there are no intervals."
    if left := summary.asked - summary.complete:
        text += f" {left} more questions have not been answered under every setting yet and do not count."
    if len(summary.rows) == 1:
        text += " Only the full image was measured."
    return text


def _figures_row(row: Row) -> list[str]:
    return [
        row.method,
        f"{row.ratio:g}",
        "—" if row.retained is None else f"{row.retained:.1f}",
        percent(row.overall.accuracy),
        percent(row.overall.relative),
        "—" if row.ttft is None else f"{row.ttft * 1000:.0f}",
        "—" if row.throughput is None else f"{row.throughput:.2f}",
    ]


def _verdict_row(row: Row) -> list[str]:
    families: list[tuple[str, Figures]] = [(name, figures) for name, figures in row.families.items() if figures.against]
    counts = Counter(figures.against.verdict for _, figures in families if figures.against)
    lost = [name for name, figures in families if figures.against and figures.against.verdict == "loss"]
    overall = row.overall.against
    return [
        row.method,
        f"{row.ratio:g}",
        percent(overall, sign="+"),
        "—" if overall is None else overall.verdict,
        f"{counts['win']} / {counts['tie']} / {counts['loss']}",
        ", ".join(lost) or "—",
    ]


def percent(interval: Interval | None, sign: str = "") -> str:
    """A share in percent with its interval; sign "+" shows the sign of what is not negative too."""
    if interval is None or interval.value is None:
        return "—"
    value = f"{interval.value * 100:{sign}.1f}"
    if interval.low is None or interval.high is None:
        return value
    return f"{value} [{interval.low * 100:{sign}.1f}, {interval.high * 100:{sign}.1f}]"


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    numeric = ["---" if index == 0 else "---:" for index in range(len(titles))]
    lines = [titles, numeric, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _facts(header: Header) -> str:
    known = {"model": header.model, **header.manner, **header.facts}
    lines = [f"- {name}: {value}" for name, value in known.items() if value not in ("", None)]
    notes = [
        "Greedy decoding. TTFT is the median time from sending a request to its first token, while `concurrency` "
        "requests are under way. Where the server is vLLM, every request holds a picture that is new to its caches.",
    ]
    return "\n".join([*lines, "", *notes])
