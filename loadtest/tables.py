"""Tables that go into Markdown and HTML alike, and how numbers look in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

NOTHING: Final = "–"  # noqa: RUF001 (a dash, meant)
LATENCIES: Final = (("ttft", "time to first token"), ("tpot", "time per output token"), ("e2el", "end to end"))
_FIGURES: Final = ("mean", "p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column names and rows of text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As a Markdown table under its title."""
        rule = "| --- |" + " ---: |" * (len(self.columns) - 1)
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.columns, *self.rows)]
        return "\n".join((f"**{self.title}**", "", lines[0], rule, *lines[1:]))


def number(value: float | None, digits: int = 1) -> str:
    """A number with fixed digits, or a dash."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as a percentage, without the sign."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def latency_table(groups: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """Percentiles in milliseconds; a group without an answer shows dashes."""
    rows = [
        (
            f"{name}, {label}",
            *(number(group[f"{figure}_{key}_ms"] if group["completed"] else None) for figure in _FIGURES),
        )
        for name, group in groups
        for key, label in LATENCIES
    ]
    return Table("Latency, ms", ("", "mean", "p50", "p90", "p95", "p99"), tuple(rows))


def group_table(title: str, groups: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """Counts, rates and visual tokens per group."""
    rows = [
        (
            name,
            str(group["completed"]),
            str(group["failed"]),
            number(group["request_throughput"], 2),
            number(group["output_throughput"]),
            percent(group["good_share"]),
            number(group["visual_tokens"]["original"], 0),
            number(group["visual_tokens"]["retained"], 0),
        )
        for name, group in groups
    ]
    columns = ("", "answered", "failed", "requests/s", "tokens/s", "good, %", "visual tokens sent", "kept")
    return Table(title, columns, tuple(rows))
