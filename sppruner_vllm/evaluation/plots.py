"""The report's plots, as PNG files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from .accuracy_curves import accuracy, columns, small_multiples, style, tidy
from .conditions import FULL
from .summary import Row, Summary

_DPI: Final = 150


def write_plots(summary: Summary, folder: Path) -> list[Path]:
    """Draw every plot that the figures allow.

    Args:
        summary: with the reference alone nothing is drawn.
        folder: exists already.

    Returns:
        The files written.
    """
    methods = list(dict.fromkeys(row.method for row in summary.rows[1:]))
    if not methods:
        return []
    figures = {"accuracy.png": accuracy(summary, methods), "methods.png": small_multiples(summary, methods)}
    if len(summary.families) > 1:
        figures["families.png"] = families(summary, methods)
    if any(row.ttft or row.throughput for row in summary.rows):
        figures["speed.png"] = speed(summary, methods)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    return [folder / name for name in figures]


def families(summary: Summary, methods: Sequence[str]) -> Figure:
    """Heat maps of accuracy: methods by families, one map per keep ratio."""
    ratios = list(dict.fromkeys(row.ratio for row in summary.rows[1:]))
    across = min(len(ratios), 2)
    down = -(-len(ratios) // across)
    size = (2.2 + (0.4 + 0.6 * len(summary.families)) * across, 1.2 + (0.5 + 0.32 * (len(methods) + 1)) * down)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(ratios) :]:
        axes.set_visible(False)
    for axes, ratio in zip(grid.flat, ratios, strict=False):
        rows = [summary.full, *(summary.at(method, ratio) for method in methods)]
        shares = np.array([[_percent(row, family) for family in summary.families] for row in rows])
        mesh = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for (y, x), share in np.ndenumerate(shares):
            if not np.isnan(share):
                ink = "black" if share > 60 else "white"
                axes.text(x, y, f"{share:.0f}", ha="center", va="center", color=ink, fontsize="small")
        axes.set_xticks(range(len(summary.families)), summary.families, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), [FULL.method, *methods])
        axes.set_title(f"keep ratio {ratio:g}", fontsize="medium")
    figure.colorbar(mesh, ax=grid.ravel().tolist(), label="accuracy, %")
    figure.suptitle("Accuracy by family of questions", fontsize="medium")
    return figure


def speed(summary: Summary, methods: Sequence[str]) -> Figure:
    """Time to the first token and throughput against the keep ratio."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, method in enumerate(methods):
        rows = [summary.full, *(row for row in summary.rows if row.method == method)]
        for axes, label, values in (
            (left, method, [row.ttft and row.ttft * 1000 for row in rows]),
            (right, None, [row.throughput for row in rows]),
        ):
            points = [(row.ratio, value) for row, value in zip(rows, values, strict=True) if value]
            axes.plot(*columns(points), label=label, linewidth=1.2, markersize=5, **style(index))
    left.set_title("Time to first token, median, ms", fontsize="medium")
    right.set_title("Throughput, questions per second", fontsize="medium")
    for axes in (left, right):
        axes.set_xlabel("keep ratio")
        axes.set_ylim(bottom=0)
        tidy(axes)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _percent(row: Row | None, family: str) -> float:
    value = row.families[family].accuracy.value if row else None
    return float("nan") if value is None else 100 * value
