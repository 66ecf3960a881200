"""The figures as pictures: how much sooner the first token of a new picture comes, and throughput under load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sppruner_vllm.evaluation.accuracy_curves import BLUE, ORANGE, tidy

from .models import BenchModel
from .rounds import NEW
from .summary import Results, Spread

_DPI: Final = 150
_IDEAL: Final = "#000000"


def write_plots(results: Mapping[BenchModel, Results], folder: Path) -> list[Path]:
    """Draw what the figures allow; returns the files written."""
    figures = {"bench-first-token.png": _first_token(results)}
    loaded = {model: found for model, found in results.items() if found.users}
    if loaded:
        figures["bench-load.png"] = _load(loaded)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    return [folder / name for name in figures]


def _first_token(results: Mapping[BenchModel, Results]) -> Figure:
    longest = max(len(found.arms) for found in results.values())
    figure = Figure(figsize=(4.6 * len(results), 0.9 + 0.36 * longest), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False, sharey=True)
    for axes, (model, found) in zip(panels.flat, results.items(), strict=True):
        timings = {arm.name: timing for arm in found.arms if (timing := found.timing(NEW, arm))}
        _bars(axes, {name: timing.speedup for name, timing in timings.items()})
        _marks(axes, {name: timing.ideal for name, timing in timings.items()})
        axes.set_title(model.title, fontsize="medium")
        axes.set_xlabel("times as fast as stock vLLM")
    figure.suptitle("First token of a new picture, one user. Black: the ideal with a whole encoder.", fontsize="medium")
    return figure


def _load(results: Mapping[BenchModel, Results]) -> Figure:
    users = next(iter(results.values())).users
    figure = Figure(figsize=(4.6 * len(users), 0.6 + 2.2 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), len(users), squeeze=False, sharex=True)
    for row, (model, found) in zip(panels, results.items(), strict=True):
        for axes, number in zip(row, users, strict=True):
            loads = {arm.name: load for arm in found.arms if (load := found.throughput(number, arm))}
            _bars(axes, {name: load.gain for name, load in loads.items()})
            _marks(axes, {name: load.ideal for name, load in loads.items()})
            axes.set_title(f"{model.title}, {number} users", fontsize="medium")
    figure.supxlabel("requests per second, times stock vLLM's", fontsize="medium")
    return figure


def _bars(axes: Axes, spreads: Mapping[str, Spread]) -> None:
    names, values = list(spreads), list(spreads.values())
    errors = [[one.median - one.least for one in values], [one.most - one.median for one in values]]
    colours = [BLUE if one.median >= 1 else ORANGE for one in values]
    axes.barh(range(len(names)), [one.median for one in values], xerr=errors, color=colours, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.axvline(1, color="#777777", linewidth=0.8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    tidy(axes)


def _marks(axes: Axes, ideals: Mapping[str, Spread | None]) -> None:
    for place, spread in enumerate(ideals.values()):
        if spread is not None:
            axes.plot([spread.median] * 2, [place - 0.4, place + 0.4], color=_IDEAL, linewidth=1.6)
