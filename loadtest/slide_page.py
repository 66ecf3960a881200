"""The report of a default that follows the load: what it was over time, and what each part of a spike got from it."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .page import Page, Picture
from .plots import COLOURS, png, requests_of
from .shapes import spike
from .slo import keeps
from .tables import Table, number, percent

FIXED: Final = "fixed"
SLIDING: Final = "sliding"
PARTS: Final = ("before", "spike", "after")
PLOT: Final = "slide.png"
STRETCHES: Final = 15
"""Of equal length, in which the course of a run is told."""


@dataclass(frozen=True, slots=True)
class Run:
    """side: FIXED or SLIDING. result: as in result.json, of a run in the shape of a spike."""

    round: int
    side: str
    result: dict[str, Any]

    def between(self, begin: float, end: float) -> Run:
        """What was sent, and read of the server, in a stretch of the run.

        Args:
            begin, end: seconds from its first request.
        """
        requests = self.result["sppruner"]["requests"]
        places = [place for place, request in enumerate(requests) if begin <= request["at_s"] < end]
        kept = ("ttfts", "latencies", "output_lens", "errors")
        server = self.result["sppruner"]["server"]
        readings = [reading for reading in server["readings"] if begin <= reading["at_s"] < end]
        ours = {
            **self.result["sppruner"],
            "requests": [requests[place] for place in places],
            "server": {**server, "readings": readings},
        }
        columns = {name: [self.result[name][place] for place in places] for name in kept}
        return Run(self.round, self.side, {**self.result, **columns, "sppruner": ours})


def write_slide(
    runs: Sequence[Run], users: int, seconds: float, facts: Sequence[tuple[str, str]], folder: Path
) -> None:
    """Write report.html, report.md and the plot.

    Args:
        runs: of both sides. users, seconds: of the spike's shape. facts: for the reader.
    """
    dated = (("Date", datetime.date.today().isoformat()), *facts)
    told = "All rounds together. A request counts where it was sent; the ratio in force is what the server says it is."
    picture = Picture(PLOT, "A spike of users: what waits, the default keep ratio, first tokens", png(draw(runs)))
    tables = (parts(runs, users, seconds), course(runs, seconds))
    Page("A default that follows the load", told, dated, tables, (picture,)).write(folder)


def parts(runs: Sequence[Run], users: int, seconds: float) -> Table:
    """Before, in and after the spike, each side."""
    rows, begin = [], 0.0
    for name, stage in zip(PARTS, spike(users, seconds), strict=True):
        for side in (FIXED, SLIDING):
            several = [run.between(begin, stage.until_s) for run in runs if run.side == side]
            length = (stage.until_s - begin) * len(several)
            rows.append((f"{name}, {stage.users} users, {side}", *_figures(several, length)))
        begin = stage.until_s
    columns = ("", "sent/s", "failed", "ratio in force", "least", "kept, %", "TTFT p50, ms", "p95")
    return Table("Parts of the spike", (*columns, "end to end p50, ms", "p95", "good, %", "good/s"), tuple(rows))


def course(runs: Sequence[Run], seconds: float) -> Table:
    """The sliding side along the run, beside the first tokens of the fixed one."""
    rows = []
    edges = np.linspace(0, seconds, STRETCHES + 1)
    for begin, end in itertools.pairwise(edges):
        fixed, sliding = (
            [run.between(float(begin), float(end)) for run in runs if run.side == side] for side in (FIXED, SLIDING)
        )
        rows.append(
            (
                f"{begin:.0f} to {end:.0f} s",
                number(_sent(sliding) / ((end - begin) * len(sliding)), 1),
                number(_mean(sliding, "unanswered"), 1),
                number(_mean(sliding, "default_ratio"), 3),
                *(number(_quantile(side, "ttft", 0.5), 0) for side in (sliding, fixed)),
            )
        )
    columns = ("seconds", "sent/s", "waiting", "ratio in force", "TTFT p50, ms", "with the fixed default")
    return Table("Along the run, with the sliding default", columns, tuple(rows))


def draw(runs: Sequence[Run]) -> Figure:
    """What waits, the ratio in force and first tokens along the run, of both sides."""
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    waiting, ratio, first = figure.subplots(3, 1, sharex=True)
    for index, side in enumerate((FIXED, SLIDING)):
        mine = [run for run in runs if run.side == side]
        _gauge(waiting, mine, "waiting", COLOURS[index], f"{side}: in the engine's queue")
        _gauge(ratio, mine, "default_ratio", COLOURS[index], side)
        for run in mine:
            answered = requests_of(run.result)
            times, values = [one["at_s"] for one in answered], [one["ttft"] for one in answered]
            first.plot(times, values, ".", markersize=4, color=COLOURS[index], label=side if run is mine[0] else None)
    _gauge(waiting, [run for run in runs if run.side == SLIDING], "unanswered", COLOURS[2], "sliding: for a token")
    for axes, title in ((waiting, "Requests that wait"), (ratio, "Default keep ratio in force")):
        axes.set_title(title, fontsize="medium")
    first.set_title("Time to first token, ms, by the time of sending", fontsize="medium")
    first.set_xlabel("seconds from the first request")
    for axes in (waiting, ratio, first):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    return figure


def _gauge(axes: Axes, runs: Sequence[Run], name: str, colour: str, label: str) -> None:
    for place, run in enumerate(runs):
        readings = [reading for reading in run.result["sppruner"]["server"]["readings"] if reading[name] is not None]
        if readings:
            times, values = [one["at_s"] for one in readings], [one[name] for one in readings]
            axes.step(times, values, where="post", color=colour, linewidth=1, label=None if place else label)


def _figures(runs: Sequence[Run], seconds: float) -> tuple[str, ...]:
    """The cells of a row; `seconds`: of all these runs together."""
    answered = [request for run in runs for request in requests_of(run.result)]
    limits = {name: limit for run in runs for name, limit in (run.result["sppruner"]["slo"] or {}).items()}
    limits.pop("share", None)
    good = sum(keeps(request, limits) for request in answered)
    original, retained = (sum(one[f"visual_{name}"] for one in answered) for name in ("original", "retained"))
    sent = _sent(runs)
    return (
        number(sent / seconds, 1),
        str(sent - len(answered)),
        number(_mean(runs, "default_ratio"), 3),
        number(_aggregate(runs, "default_ratio", min), 3),
        percent(retained / original if original else None),
        *(number(_quantile(runs, key, share), 0) for key in ("ttft", "e2el") for share in (0.5, 0.95)),
        percent(good / sent if sent else None),
        number(good / seconds, 2),
    )


def _sent(runs: Sequence[Run]) -> int:
    return sum(len(run.result["sppruner"]["requests"]) for run in runs)


def _quantile(runs: Sequence[Run], key: str, share: float) -> float | None:
    values = [request[key] for run in runs for request in requests_of(run.result)]
    return float(np.quantile(values, share)) if values else None


def _mean(runs: Sequence[Run], gauge: str) -> float | None:
    return _aggregate(runs, gauge, lambda values: sum(values) / len(values))


def _aggregate(runs: Sequence[Run], gauge: str, how: Callable[[list[float]], float]) -> float | None:
    readings = [reading[gauge] for run in runs for reading in run.result["sppruner"]["server"]["readings"]]
    known = [value for value in readings if value is not None]
    return how(known) if known else None
