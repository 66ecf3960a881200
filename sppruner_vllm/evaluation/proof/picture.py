"""The report's picture: what is left of the full picture's score against the share of tokens kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sppruner_vllm.evaluation.accuracy_curves import style, tidy
from sppruner_vllm.evaluation.bootstrap import Interval
from sppruner_vllm.evaluation.conditions import FULL, Condition

from .figures import Figures
from .published import FIGURES

_DPI: Final = 150
_ACROSS: Final = 4


def write_picture(found: Figures, file: Path) -> None:
    """Draw the mean of all sets, published figures as grey points behind it, and every set by itself."""
    down = -(-len(found.sets) // _ACROSS)
    figure = Figure(figsize=(13, 4.6 + 2.5 * down), layout="constrained")
    grid = figure.add_gridspec(down + 1, _ACROSS, height_ratios=[1.6, *([1] * down)])
    mean = figure.add_subplot(grid[0, :])
    mean.scatter(
        [one.kept for one in FIGURES],
        [one.relative for one in FIGURES],
        color="#BBBBBB",
        s=22,
        label="published for Qwen2.5-VL-7B, other sets",
    )
    _curves(mean, found, found.mean)
    mean.set_title("Mean of the sets, 95 % intervals", fontsize="medium")
    mean.set_xlabel("visual tokens kept, %")
    mean.set_ylabel("of the full picture's score, %")
    for index, one in enumerate(found.sets):
        axes = figure.add_subplot(grid[1 + index // _ACROSS, index % _ACROSS])
        _curves(axes, found, one.relative)
        axes.set_title(f"{one.name} ({one.questions})", fontsize="medium")
    handles, labels = mean.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    figure.savefig(file, dpi=_DPI, bbox_inches="tight", pad_inches=0.1)


def _curves(axes: Axes, found: Figures, values: Mapping[Condition, Interval]) -> None:
    methods = list(dict.fromkeys(one.method for one in found.conditions if one != FULL))
    axes.axhline(100, color="black", linestyle="--", linewidth=0.8)
    for index, method in enumerate(methods):
        points = [(100 * one.ratio, values[one]) for one in found.conditions if one.method == method]
        known = [(kept, interval) for kept, interval in points if interval.value is not None]
        if not known:
            continue
        look: dict[str, Any] = style(index)
        axes.errorbar(
            [kept for kept, _ in known],
            [100 * (interval.value or 0) for _, interval in known],
            yerr=[_bars(interval) for _, interval in known] and list(zip(*(_bars(i) for _, i in known), strict=True)),
            label=method,
            capsize=2,
            linewidth=1.4,
            markersize=5,
            **look,
        )
    tidy(axes)


def _bars(interval: Interval) -> tuple[float, float]:
    value = interval.value or 0.0
    low = value if interval.low is None else interval.low
    high = value if interval.high is None else interval.high
    return max(0.0, 100 * (value - low)), max(0.0, 100 * (high - value))
