"""Capacity, plot: requests that fit the KV cache, rate of a replica and GPUs against the keep ratio."""

from __future__ import annotations

from matplotlib.figure import Figure

from .accuracy_curves import BLUE, ORANGE, tidy
from .capacity_sizing import Row, Sizing


def draw(sizing: Sizing) -> Figure:
    """Three panels of bars; what was not measured is hatched, what is not known is left empty."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = ("Requests that fit the KV cache", "Requests per second of a replica", "GPUs for the traffic")
    names = [f"{row.keep_ratio:g}" for row in sizing.rows]
    for index, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for name, row in zip(names, sizing.rows, strict=True):
            value = _values(row)[index]
            measured = index == 0 or (row.rate is not None and row.rate.basis == "measured")
            look = {} if measured else {"hatch": "//", "alpha": 0.6}
            bars = axes.bar([name], [value or 0], color=BLUE if measured else ORANGE, width=0.6, **look)
            axes.bar_label(bars, ["not known" if value is None else f"{value:,.3g}" if index == 1 else f"{value:,.0f}"])
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("keep ratio")
        axes.margins(y=0.12)
        tidy(axes)
    figure.suptitle(f"{sizing.question.traffic.peak:g} requests/s. Hatched: not measured as used", fontsize="medium")
    return figure


def _values(row: Row) -> tuple[float | None, float | None, float | None]:
    rate = None if row.rate is None else row.rate.per_second
    return row.fit, rate, None if row.fleet is None else row.fleet.gpus
