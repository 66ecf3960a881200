"""What a soak found, as a page and as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from .memory import ALL
from .plots import COLOURS

MIB: Final = 2**20
_HOUR: Final = 3600


def report(result: Mapping[str, Any]) -> str:
    """The figures in Markdown.

    Args:
        result: as the soak saves it.
    """
    kv = (
        ""
        if result["kv_turns"] is None
        else f", when the tokens so far filled the KV cache {result['kv_turns']:.1f} times"
    )
    warm = result["warm_after_seconds"]
    lines = [
        "# Soak",
        "",
        f"- {result['picture_requests']} requests with pictures in {result['seconds'] / _HOUR:.2f} h, "
        f"{result['users']} users, {result['model']} on {result['device']}, vLLM {result['version']}",
        *(f"- the server ran with {name}={value}" for name, value in result["environment"].items()),
        f"- statuses: {result['statuses']}",
        f"- /dev/shm: {len(result['segments_before'])} segments before, {len(result['segments_after'])} after",
        f"- warm after {warm / 60:.1f} min{kv}" if warm is not None else f"- never warm{kv}",
        f"- {'; '.join(result['problems']) or 'nothing grows, nothing stays'}",
        "",
        *_table(result["processes"]),
        "",
    ]
    return "\n".join(lines)


def _table(processes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Anonymous memory, resident or swapped, of the warm server."""
    if not processes:
        return []
    rows = [
        f"| {name} | {one['least'] / MIB:.1f} | {one['most'] / MIB:.1f} "
        f"| {one['slope'] * _HOUR / MIB:+.2f} ± {one['margin'] * _HOUR / MIB:.2f} "
        f"| {one['least_slope'] * _HOUR / MIB:+.2f} ± {one['least_margin'] * _HOUR / MIB:.2f} |"
        for name, one in processes.items()
    ]
    head = "| process | MiB at least | at most | mean, judged: MiB/h, 95 % | least: MiB/h, 95 % |"
    return [head, "|---|---|---|---|---|", *rows]


def memory_over_time(result: Mapping[str, Any]) -> Figure:
    """Anonymous memory of each process along the run, and of all, with the line that was fitted."""
    readings, warm = result["readings"], result["warm_after_seconds"]
    minutes = np.array([at for at, _ in readings]) / 60
    names = list(readings[-1][1])  # while the server starts, some have other titles
    figure = Figure(figsize=(9, 2 + 1.5 * (1 + len(names))), layout="constrained")
    panels = figure.subplots(1 + len(names), 1, sharex=True, squeeze=False)[:, 0]
    for index, (axes, name) in enumerate(zip(panels, [ALL, *names], strict=True)):
        values = [sum(sizes.values()) if name == ALL else sizes.get(name, np.nan) for _, sizes in readings]
        axes.plot(minutes, np.array(values) / MIB, color=COLOURS[index % len(COLOURS)], linewidth=0.8)
        if warm is not None:
            axes.axvspan(minutes[0], warm / 60, color="grey", alpha=0.15)
        if warm is not None and (one := result["processes"].get(name)) is not None:
            later = minutes[minutes >= warm / 60]
            level = np.mean(np.array(values)[minutes >= warm / 60])
            axes.plot(later, (level + one["slope"] * 60 * (later - later.mean())) / MIB, color="black", linestyle=":")
        axes.set_title(f"{name}, MiB", fontsize="medium")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("minutes; grey: warming up")
    return figure
