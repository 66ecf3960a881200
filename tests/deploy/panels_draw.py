"""Draws the shipped dashboards from a real Prometheus: the same grid, queries, units, legends and thresholds, as PNG.

For a look at the panels where there is no Grafana, and for the pictures of the documentation:

    python tests/deploy/panels_draw.py --prometheus http://127.0.0.1:9090 --minutes 15
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, MaxNLocator
from panels import Json, dashboards
from panels_data import Series, Window, cells, latest, read
from panels_units import written

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WIDTH = 20.0
UNIT = 0.36
"""Inches of one row of Grafana's grid."""

COLORS = ("#56a64b", "#f2cc0c", "#3274d9", "#ff780a", "#e02f44", "#8f3bb8", "#37872d", "#1f60c4", "#fa6400", "#c4162a")
NAMED = {
    "green": "#56a64b",
    "yellow": "#e0b400",
    "orange": "#ff780a",
    "red": "#e02f44",
    "light-blue": "#8ab8ff",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "dark-purple": "#5b2076",
}
"""Grafana's names of the colours that the dashboards use."""

INK = "#3b3e45"
FAINT = "#8e9199"


def draw(dashboard: Json, window: Window) -> tuple[Figure, list[str]]:
    """The dashboard's picture, and the titles of the panels that had nothing to show."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = Figure(figsize=(WIDTH, height * UNIT + 0.8), facecolor="#f4f5f5")
    top = 1 - 0.7 / (height * UNIT + 0.8)
    grid = GridSpec(height, 24, figure, left=0.012, right=0.988, top=top, bottom=0.004, wspace=0, hspace=0)
    span = " to ".join(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in (window.start, window.end))
    figure.text(0.012, 1 - 0.3 / (height * UNIT + 0.8), dashboard["title"], size=17, weight="bold", color=INK)
    figure.text(0.988, 1 - 0.3 / (height * UNIT + 0.8), f"{span} UTC", size=11, color=FAINT, ha="right")
    empty = []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        spot = grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]].get_position(figure)
        if panel["type"] == "row":
            figure.text(spot.x0, spot.y0 + spot.height * 0.25, panel["title"], size=13, color=INK)
        elif not _draw_panel(figure, spot, panel, window):
            empty.append(panel["title"])
    return figure, empty


def _draw_panel(figure: Figure, spot, panel: Json, window: Window) -> bool:
    """Draw one panel; False when it shows its no-data text."""
    inch_x, inch_y = 1 / figure.get_figwidth(), 1 / figure.get_figheight()
    card = figure.add_axes(
        (spot.x0 + 0.05 * inch_x, spot.y0 + 0.05 * inch_y, spot.width - 0.1 * inch_x, spot.height - 0.1 * inch_y)
    )
    card.set_facecolor("white")
    card.set(xticks=[], yticks=[])
    card.spines[:].set_color("#dddee0")
    card.text(
        0.1 * inch_x / card.get_position().width, 0.97, panel["title"], size=11, weight="bold", color=INK, va="top"
    )
    series = [one for target in panel["targets"] for one in read(window, target)]
    if not any(one.last is not None for one in series):
        text = panel["fieldConfig"]["defaults"]["noValue"]
        card.text(0.5, 0.45, text, size=14, color=FAINT, ha="center", va="center")
        return False
    kinds = {"stat": _stat, "timeseries": _curves, "heatmap": _heat_map, "table": _table}
    if panel["type"] in {"stat", "table"}:
        kinds[panel["type"]](card, panel, series)
        return True
    legend = 0.3
    if panel["type"] == "timeseries":
        legend += 0.15 * -(-len(series) // _legend_columns(spot.width * figure.get_figwidth(), series))
    plot = figure.add_axes(
        (
            spot.x0 + 0.9 * inch_x,
            spot.y0 + (legend + 0.12) * inch_y,
            spot.width - 1.2 * inch_x,
            spot.height - (legend + 0.5) * inch_y,
        )
    )
    plot.tick_params(labelsize=8.5, colors=FAINT, length=0)
    plot.spines[:].set_visible(False)
    plot.set_axisbelow(True)
    kinds[panel["type"]](plot, panel, series)
    plot.set_xlim(*(datetime.fromtimestamp(at, UTC) for at in (window.start, window.end)))
    dates = AutoDateLocator(minticks=3, maxticks=9)
    plot.xaxis.set_major_locator(dates)
    plot.xaxis.set_major_formatter(DateFormatter("%H:%M" if window.end - window.start > 240 else "%H:%M:%S"))
    return True


def _times(series: Series) -> list[datetime]:
    return [datetime.fromtimestamp(at, UTC) for at in series.times]


def _stat(axes: Axes, panel: Json, series: list[Series]) -> None:
    fields = panel["fieldConfig"]["defaults"]
    value = next(one.last for one in series if one.last is not None)
    color = INK
    if panel["options"]["colorMode"] == "value":
        steps = fields["thresholds"]["steps"]
        color = NAMED[[step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]]
    if panel["options"]["graphMode"] == "area" and len(series[0].times) > 1:
        back = axes.inset_axes((0.0, 0.0, 1.0, 0.32))
        back.fill_between(_times(series[0]), np.nan_to_num(series[0].values), color=color, alpha=0.15, linewidth=0)
        back.margins(x=0)
        back.axis("off")
    axes.text(
        0.5, 0.5, written(value, fields["unit"], fields.get("decimals")), size=25, color=color, ha="center", va="center"
    )


def _curves(axes: Axes, panel: Json, series: list[Series]) -> None:
    fields = panel["fieldConfig"]["defaults"]
    series = sorted(series, key=lambda one: one.name) if len(panel["targets"]) == 1 else series
    colors = _colors(panel, series)
    if fields["custom"]["stacking"]["mode"] == "normal":
        values = [np.nan_to_num(one.values) for one in series]
        axes.stackplot(_times(series[0]), values, colors=colors, alpha=0.55, labels=[one.name for one in series])
    else:
        style = "steps-post" if fields["custom"]["lineInterpolation"] == "stepAfter" else "default"
        for one, color in zip(series, colors, strict=True):
            axes.plot(_times(one), one.values, color=color, linewidth=1.4, label=one.name, drawstyle=style)
    axes.margins(x=0)
    _, high = axes.get_ylim()
    high = fields.get("max") or (high if high > 1e-9 else 1.0)
    axes.set_ylim(0, high)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, fields["unit"])))
    axes.grid(axis="both", color="#e9eaec", linewidth=0.8)
    if fields["custom"]["thresholdsStyle"]["mode"] == "dashed":
        for step in fields["thresholds"]["steps"][1:]:
            if step["value"] <= high:
                axes.axhline(step["value"], color=NAMED[step["color"]], linestyle="--", linewidth=1)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.11),
        ncols=_legend_columns((axes.get_position().width + 0.06) * WIDTH, series),
        fontsize=8.5,
        frameon=False,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.2,
        labelspacing=0.2,
        labelcolor=INK,
    )


def _legend_columns(inches: float, series: list[Series]) -> int:
    """How many of a panel's series fit side by side in its legend."""
    longest = max(len(one.name) for one in series)
    return max(1, min(len(series), int((inches - 1.2) / (0.5 + 0.075 * longest))))


def _colors(panel: Json, series: list[Series]) -> list[str]:
    """The colour each series is given by name, or the next one of the palette."""
    given = {
        override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
    }
    palette = itertools.cycle(COLORS)
    colors = [given[one.name] if one.name in given else next(palette) for one in series]
    return [NAMED.get(color, color) for color in colors]


def _heat_map(axes: Axes, panel: Json, series: list[Series]) -> None:
    bounds, counts = cells(series)
    times = _times(series[0])
    step = times[1] - times[0]
    shown = np.ma.masked_where(~(counts > 1e-9), counts)
    mesh = axes.pcolormesh([*times, times[-1] + step], np.arange(len(bounds) + 1), shown, cmap="Blues", vmin=0)
    labelled = [index for index in range(len(bounds)) if (index + 1) % 4 == 0]
    unit = panel["options"]["yAxis"]["unit"]
    axes.set_yticks([index + 0.5 for index in labelled], [written(bounds[index], unit) for index in labelled])
    axes.grid(axis="y", color="#e9eaec", linewidth=0.8)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, fraction=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, colors=FAINT, length=0)


def _table(axes: Axes, panel: Json, series: list[Series]) -> None:
    named = next(step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize")
    rows = [list(named.values()), *([one.labels.get(label, "") for label in named] for one in series)]
    for down, row in enumerate(rows):
        for across, text in enumerate(row):
            weight = "bold" if down == 0 else "normal"
            axes.text(0.03 + across * 0.96 / len(named), 0.8 - 0.11 * down, text, size=10.5, weight=weight, color=INK)


def save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=80)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the shipped dashboards from a Prometheus.")
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--minutes", type=float, default=15, help="how far back to draw")
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="FOLDER")
    options = parser.parse_args(arguments)
    window = latest(options.prometheus.rstrip("/"), options.minutes)
    for name, dashboard in dashboards().items():
        figure, empty = draw(dashboard, window)
        save(figure, options.out / f"dashboard-{name}.png")
        print(f"dashboard-{name}.png" + (f": no data in {', '.join(empty)}" if empty else ""))


if __name__ == "__main__":
    main()
