"""The report's first table, for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from .summary import Summary

_COLOURS = {"win": "green", "tie": "default", "loss": "red"}


def table(summary: Summary) -> Table:
    """One row per condition."""
    view = Table(title=f"{summary.complete} questions, 95 % intervals in the report", box=SIMPLE_HEAD)
    view.add_column("method", no_wrap=True)
    for title in (
        "keep\nratio",
        "visual\ntokens",
        "accuracy\n%",
        "of full\n%",
        "TTFT\nms",
        f"against\n{summary.opponent}",
    ):
        view.add_column(title, justify="right", no_wrap=True)
    for row in summary.rows:
        against = row.overall.against
        verdict = "" if against is None else f"[{_COLOURS[against.verdict]}]{against.verdict}[/]"
        view.add_row(
            row.method,
            f"{row.ratio:g}",
            _shown(row.retained, 1),
            _shown(row.overall.accuracy.value, 100),
            _shown(row.overall.relative.value, 100),
            _shown(row.ttft, 1000, digits=0),
            verdict,
        )
    return view


def _shown(value: float | None, factor: float, digits: int = 1) -> str:
    return "—" if value is None else f"{value * factor:.{digits}f}"
