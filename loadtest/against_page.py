"""The report of a comparison with stock vLLM: ratios of cells that were measured one after the other."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .mix import show_ratio
from .page import Page
from .shapes import POISSON
from .tables import Table, number
from .target import Target

FIGURES: Final = (
    ("TTFT median", "median_ttft_ms"),
    ("TTFT p99", "p99_ttft_ms"),
    ("TPOT median", "median_tpot_ms"),
    ("whole answer, median", "median_e2el_ms"),
    ("requests/s", "request_throughput"),
)


@dataclass(frozen=True, slots=True)
class Load:
    """users: of a closed loop. rate: requests per second of an open one; share: of what stock answers at most."""

    users: int | None
    rate: float | None = None
    share: float | None = None

    @property
    def name(self) -> str:
        if self.share is None:
            return f"{self.users} users"
        return f"open at {100 * self.share:g} %"

    @property
    def options(self) -> dict[str, Any]:
        """Of the load generator."""
        return {"users": self.users} if self.rate is None else {"load_shape": POISSON, "rate": self.rate}


@dataclass(frozen=True, slots=True)
class Side:
    """A server and the keep ratio that it is asked for; None for stock vLLM, which knows none."""

    server: Target
    ratio: float | None

    @property
    def name(self) -> str:
        return "stock" if self.ratio is None else f"ratio {show_ratio(self.ratio)}"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one cell."""

    round: int
    load: Load
    side: Side
    result: dict[str, Any]


def write_comparison(found: Sequence[Found], facts: Sequence[tuple[str, str]], folder: Path) -> None:
    """Write report.html and report.md."""
    dated = (("Date", datetime.date.today().isoformat()), *facts)
    verdict = "Figures over stock's of the same round: geometric mean of the rounds, in brackets least and most."
    tables = (compared(found), stock_itself(found))
    Page("Against stock vLLM", verdict, dated, tables, ()).write(folder)


def compared(found: Sequence[Found]) -> Table:
    """Of each load and ratio, every figure over stock's of the same round."""
    stock = {(one.round, one.load): one.result for one in found if one.side.ratio is None}
    rows = []
    for load, side in dict.fromkeys((one.load, one.side) for one in found if one.side.ratio is not None):
        mine = [one for one in found if (one.load, one.side) == (load, side)]
        cells = [_spread([one.result[key] / stock[one.round, load][key] for one in mine]) for _, key in FIGURES]
        rows.append((load.name, show_ratio(side.ratio), *cells))
    return Table("Over stock vLLM", ("load", "keep ratio", *(title for title, _ in FIGURES)), tuple(rows))


def stock_itself(found: Sequence[Found]) -> Table:
    """Stock's own figures, median of the rounds."""
    stock = [one for one in found if one.side.ratio is None]
    rows = []
    for load in dict.fromkeys(one.load for one in stock):
        cells = [statistics.median(one.result[key] for one in stock if one.load == load) for _, key in FIGURES]
        rate = "" if load.rate is None else number(load.rate, 2)
        rows.append((load.name, rate, *(number(value) for value in cells)))
    titles = [title if title.startswith("requests") else f"{title}, ms" for title, _ in FIGURES]
    return Table("Stock vLLM itself", ("load", "sent a second", *titles), tuple(rows))


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.geometric_mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
