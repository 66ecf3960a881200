"""The report of a sweep: what a keep ratio gave at each concurrency, and how many users it carries within the SLO."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cells import Measured, largest_users
from .mix import show_ratio
from .page import Page, Picture
from .plots import COLOURS, png
from .slo import Slo
from .tables import NOTHING, Table, number, percent
from .target import Target

PLOTS: Final = "sweep.png"


@dataclass(frozen=True, slots=True)
class Sweep:
    """All cells of one sweep, the server and the load they share."""

    server: Target
    device: str
    slo: Slo
    measured: tuple[Measured, ...]
    load: dict[str, Any]

    @property
    def ratios(self) -> list[float | None]:
        return list(dict.fromkeys(one.cell.ratio for one in self.measured))

    @property
    def users(self) -> list[int]:
        return list(dict.fromkeys(one.cell.users for one in self.measured))


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write report.html, report.md and the plots."""
    picture = Picture(PLOTS, "What the keep ratio changes, and the users it carries", png(draw(sweep)))
    Page("Load test by keep ratio", _verdict(sweep), _facts(sweep), (carried(sweep), cells(sweep)), (picture,)).write(
        folder
    )


def carried(sweep: Sweep) -> Table:
    """The largest concurrency within the SLO at each ratio."""
    rows = []
    for ratio in sweep.ratios:
        best = largest_users(sweep.measured, ratio, sweep.slo.share)
        at_best = [one for one in sweep.measured if one.cell.ratio == ratio and one.cell.users == best]
        throughput = number(at_best[0].result["output_throughput"]) if at_best else NOTHING
        rows.append((show_ratio(ratio), "none" if best is None else str(best), throughput))
    return Table("Users within the SLO", ("keep ratio", "users", "tokens/s at that load"), tuple(rows))


def cells(sweep: Sweep) -> Table:
    """One row per cell."""
    rows = []
    for one in sweep.measured:
        result, usage = one.result, one.kv_cache_usage
        visual = result["sppruner"]["visual_tokens"]
        some = max(result["completed"], 1)
        rows.append(
            (
                f"{show_ratio(one.cell.ratio)}, {one.cell.users} users",
                str(result["completed"]),
                str(result["failed"]),
                number(visual["retained"] / some, 0),
                number(result["output_throughput"]),
                *(number(result[f"{figure}_ttft_ms"], 0) for figure in ("p50", "p99")),
                *(number(result[f"{figure}_tpot_ms"]) for figure in ("p50", "p99")),
                percent(usage["mean"] if usage else None, 2),
                percent(usage["max"] if usage else None, 2),
                percent(one.good),
            )
        )
    columns = ("keep ratio", "answered", "failed", "visual tokens each", "tokens/s", "TTFT p50, ms", "p99")
    more = ("TPOT p50, ms", "p99", "KV mean, %", "most", "good, %")
    return Table("Every cell", (*columns, *more), tuple(rows))


def draw(sweep: Sweep) -> Figure:
    """Throughput, time to the first token and KV use against the keep ratio, and the users within the SLO."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    (tokens, ttft), (kv, users) = figure.subplots(2, 2)
    _lines(tokens, sweep, "Output tokens per second", lambda one: one.result["output_throughput"])
    _lines(ttft, sweep, "Time to first token, median, ms", lambda one: one.result["median_ttft_ms"])
    if sweep.slo.ttft:
        ttft.axhline(sweep.slo.ttft, color="grey", linestyle=":")
    _lines(kv, sweep, "KV cache in use, mean, %", _kv_percent)
    tokens.legend(title="users", fontsize="small", title_fontsize="small")
    best = [largest_users(sweep.measured, ratio, sweep.slo.share) or 0 for ratio in sweep.ratios]
    bars = users.bar([show_ratio(ratio) for ratio in sweep.ratios], best, color=COLOURS[0], width=0.6)
    users.bar_label(bars)
    users.set_ylim(0, max(sweep.users) * 1.1)
    users.set_title(f"Most users within the SLO, of {max(sweep.users)} tried", fontsize="medium")
    users.set_xlabel("keep ratio")
    return figure


def _lines(axes: Axes, sweep: Sweep, title: str, value: Callable[[Measured], float | None]) -> None:
    names = [show_ratio(ratio) for ratio in sweep.ratios]
    for index, count in enumerate(sweep.users):
        points = [
            (show_ratio(one.cell.ratio), shown)
            for one in sweep.measured
            if one.cell.users == count and (shown := value(one)) is not None
        ]
        if points:
            at = [names.index(name) for name, _ in points]
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(at, [shown for _, shown in points], "o-", color=colour, label=str(count))
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("keep ratio")
    axes.set_title(title, fontsize="medium")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.grid(alpha=0.3)


def _kv_percent(one: Measured) -> float | None:
    return None if one.kv_cache_usage is None else 100 * one.kv_cache_usage["mean"]


def _verdict(sweep: Sweep) -> str:
    return f"SLO: {_limits(sweep.slo)} for {percent(sweep.slo.share, 0)} % of the requests."


def _limits(slo: Slo) -> str:
    return ", ".join(f"{name} {limit:g} ms" for name, limit in slo.limits.items())


def _facts(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    load = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sweep.load.items())
    return (
        ("Date", datetime.date.today().isoformat()),
        ("Device", f"{sweep.device}; the load generator runs on the machine that started the sweep"),
        ("Model", f"{sweep.server.model}, vLLM {sweep.server.version or NOTHING}"),
        ("Load", load),
        ("Pictures", "each is new to the server while the pool lasts: no cache answers for the encoder"),
    )
