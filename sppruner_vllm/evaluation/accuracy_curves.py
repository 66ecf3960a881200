"""Accuracy against visual tokens, as curves with their interval bands.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; every method has a marker and a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .summary import Row, Summary

BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
_GREY: Final = "#BBBBBB"
_COLOURS: Final = (BLUE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#777777", "#8B5A2B", ORANGE, "#5D3A9B")
_MARKERS: Final = ("o", "^", "D", "v", "P", "X", "<", ">", "s", "*")
_LINES: Final = ("-", "--", "-.", ":")


def style(index: int) -> dict[str, Any]:
    """Colour, marker and line of the method at that place."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
    }


def accuracy(summary: Summary, methods: Sequence[str]) -> Figure:
    """All methods in one picture."""
    figure = Figure(figsize=(9.5, 5.5), layout="constrained")
    axes = figure.subplots()
    _reference(axes, summary)
    for index, method in enumerate(methods):
        _curve(axes, summary, method, band=0.1, **style(index))
    _tokens_axis(axes, summary)
    axes.set_xlabel("visual tokens per question, mean, log scale")
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"Accuracy against visual tokens: {summary.complete} questions, bands are 95 % intervals")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def small_multiples(summary: Summary, methods: Sequence[str]) -> Figure:
    """One panel per method: its own curve, before the opponent's and those of all others."""
    across = min(len(methods), 4)
    down = -(-len(methods) // across)
    figure = Figure(figsize=(3.2 * across, 2.7 * down + 0.6), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(methods) :]:
        axes.set_visible(False)
    for method, axes in zip(methods, panels.flat, strict=False):
        for other in methods:
            _curve(axes, summary, other, color=_GREY, linewidth=0.8)
        _reference(axes, summary)
        if summary.opponent in methods and method != summary.opponent:
            _curve(axes, summary, summary.opponent, band=0.15, color=ORANGE, marker="s")
        _curve(axes, summary, method, band=0.2, color=BLUE, marker="o")
        _tokens_axis(axes, summary)
        axes.set_title(method, color=BLUE, fontsize="medium")
    opponent = f" Orange: {summary.opponent}." if summary.opponent in methods else ""
    figure.suptitle(
        f"Blue: the panel's method.{opponent} Grey: all others. Dashed: full image. Bands: 95 % intervals.",
        fontsize="medium",
    )
    figure.supxlabel("visual tokens per question, mean, log scale", fontsize="medium")
    figure.supylabel("accuracy, %", fontsize="medium")
    return figure


def columns(points: Sequence[tuple[float, ...]]) -> list[list[float]]:
    """x and y of points."""
    return [list(column) for column in zip(*points, strict=True)] or [[], []]


def tidy(axes: Axes) -> None:
    """Less ink."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _curve(axes: Axes, summary: Summary, method: str, *, band: float = 0, linewidth: float = 1.6, **look: Any) -> None:
    """A method's curve. band: opacity of its intervals, 0 for none."""
    rows = [row for row in summary.rows if row.method == method]
    points = [(_tokens(row, summary), 100 * (row.overall.accuracy.value or 0)) for row in rows]
    axes.plot(*columns(points), linewidth=linewidth, markersize=5, label=method, **look)
    edges = [(_tokens(row, summary), row.overall.accuracy.low, row.overall.accuracy.high) for row in rows]
    known = [(x, 100 * low, 100 * high) for x, low, high in edges if low is not None and high is not None]
    if band and known:
        x, low, high = columns(known)
        axes.fill_between(x, low, high, color=look["color"], alpha=band, linewidth=0)


def _reference(axes: Axes, summary: Summary) -> None:
    full = summary.full.overall.accuracy
    axes.axhline(100 * (full.value or 0), color="black", linestyle="--", linewidth=1, label="full image")
    if full.low is not None and full.high is not None:
        axes.axhspan(100 * full.low, 100 * full.high, color="black", alpha=0.06, linewidth=0)


def _tokens_axis(axes: Axes, summary: Summary) -> None:
    first = summary.rows[1].method
    ticks = sorted({round(_tokens(row, summary)) for row in summary.rows if row.method == first})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    tidy(axes)


def _tokens(row: Row, summary: Summary) -> float:
    """Where a row stands on the axis of tokens."""
    return row.retained or row.ratio * (summary.full.retained or 100)
