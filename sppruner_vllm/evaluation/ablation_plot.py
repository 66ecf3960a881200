"""`python -m sppruner_vllm.evaluation.ablation_plot NAME=FILE …`: what each step is worth, runs side by side.

A panel per keep ratio. A mark left of zero says that leaving the step out, or doing it otherwise, costs points.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from .accuracy_curves import BLUE, ORANGE, tidy

_DPI: Final = 110
_COLOURS: Final = (BLUE, ORANGE, "#009E73", "#CC79A7")
_APART: Final = 0.22
"""Between the marks of two runs, in lines."""


def draw(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Differences to what is shipped with their 95 % intervals.

    Args:
        runs: what `ablation.json` holds, under the name that each run is shown by; of the same variants and ratios.
    """
    first = next(iter(runs.values()))["variants"]
    shipped, *names = first
    ratios = list(first[shipped])
    figure = Figure(figsize=(3.1 * len(ratios) + 2.2, 0.27 * len(names) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(ratios), sharey=True, squeeze=False)[0]
    for ratio, axes in zip(ratios, panels, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for place, (run, colour) in enumerate(zip(runs.values(), _COLOURS, strict=False)):
            found = [run["variants"][name][ratio]["difference"] for name in names]
            values, lows, highs = ([100 * (one or 0.0) for one in column] for column in zip(*found, strict=True))
            lines = [line + _APART * (place - (len(runs) - 1) / 2) for line in range(len(names))]
            axes.hlines(lines, lows, highs, color=colour, linewidth=1.4, alpha=0.6)
            axes.plot(values, lines, "o", color=colour, markersize=3.5)
        axes.set_title(f"{float(ratio):.1%} kept", fontsize="medium")
        tidy(axes)
    panels[0].set_yticks(range(len(names)), names, fontsize="small")
    panels[0].invert_yaxis()
    told = ", ".join(f"{name} ({run['questions']} questions)" for name, run in runs.items())
    figure.supxlabel(f"points of accuracy against what is shipped, 95 % intervals; {told}", fontsize="medium")
    marks = [panels[-1].plot([], [], "o-", color=colour)[0] for _, colour in zip(runs, _COLOURS, strict=False)]
    figure.legend(marks, list(runs), loc="outside right upper", frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sppruner_vllm.evaluation.ablation_plot", description=__doc__)
    parser.add_argument("runs", nargs="+", type=_named, metavar="NAME=FILE", help="an ablation.json by a name of yours")
    parser.add_argument("--out", type=Path, default=Path("ablation.png"), help="default: %(default)s")
    options = parser.parse_args()
    runs = {name: json.loads(file.read_text()) for name, file in options.runs}
    draw(runs).savefig(options.out, dpi=_DPI, bbox_inches="tight", pad_inches=0.1)


def _named(text: str) -> tuple[str, Path]:
    name, sign, file = text.partition("=")
    if not (name and sign and file):
        raise argparse.ArgumentTypeError(f"must be NAME=FILE, got {text}")
    return name, Path(file)


if __name__ == "__main__":
    main()
