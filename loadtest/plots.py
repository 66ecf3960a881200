"""The curves of one run's report. Figures without pyplot: it keeps state, and Locust's process has greenlets."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .mix import show_ratio

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DPI: Final = 130
_BINS: Final = 120


def png(figure: Figure) -> bytes:
    """The figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def over_time(result: Mapping[str, Any]) -> Figure:
    """Requests under way and answered, their time to the first token, and the server's gauges, along the run."""
    readings = result["sppruner"]["server"]["readings"]
    figure = Figure(figsize=(9, 8 if readings else 5.6), layout="constrained")
    axes = figure.subplots(3 if readings else 2, 1, sharex=True)
    _traffic(axes[0], result)
    _first_tokens(axes[1], result)
    if readings:
        _gauges(axes[2], readings)
    axes[-1].set_xlabel("seconds from the first request")
    return figure


def distributions(result: Mapping[str, Any]) -> Figure:
    """What share of the requests was at most that slow, one curve per keep ratio."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    ratios = _by_ratio(result)
    limits = result["sppruner"]["slo"] or {}
    for axes, (name, title) in zip(panels, _DISTRIBUTIONS, strict=True):
        for index, (ratio, requests) in enumerate(ratios.items()):
            values = np.sort([value for request in requests if (value := request[name]) is not None])
            if values.size:
                shares = np.arange(1, values.size + 1) / values.size
                axes.step(values, shares, where="post", color=COLOURS[index % len(COLOURS)], label=ratio)
        if name in limits:
            axes.axvline(limits[name], color="grey", linestyle=":", label="SLO")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("ms")
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of requests")
    _legend(panels[0], "keep ratio")
    return figure


_DISTRIBUTIONS: Final = (("ttft", "time to first token"), ("tpot", "time per output token"), ("e2el", "end to end"))


def requests_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The answered requests with their start in seconds and latencies in milliseconds."""
    columns = zip(
        result["sppruner"]["requests"],
        *(result[key] for key in ("ttfts", "latencies", "output_lens", "errors")),
        strict=True,
    )
    return [
        {
            **request,
            "ttft": 1000 * ttft,
            "tpot": 1000 * (latency - ttft) / (tokens - 1) if tokens > 1 else None,
            "e2el": 1000 * latency,
        }
        for request, ttft, latency, tokens, error in columns
        if not error
    ]


def _by_ratio(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    requests = requests_of(result)
    names = [group["keep_ratio"] for group in result["sppruner"]["ratios"]]
    return {name: [request for request in requests if show_ratio(request["keep_ratio"]) == name] for name in names}


def _traffic(axes: Axes, result: Mapping[str, Any]) -> None:
    starts = np.array([request["at_s"] for request in result["sppruner"]["requests"]])
    ends = starts + np.array(result["latencies"])
    edges = _edges(result)
    moments = np.sort(np.concatenate((starts, ends)))
    under_way = np.searchsorted(np.sort(starts), moments, "right") - np.searchsorted(np.sort(ends), moments, "right")
    axes.step(moments, under_way, where="post", color=COLOURS[0], linewidth=0.8, label="under way")
    rates, _ = np.histogram(ends, edges)
    axes.stairs(rates / np.diff(edges), edges, color=COLOURS[1], label="ended per second")
    axes.set_title("Requests", fontsize="medium")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _legend(axes)


def _first_tokens(axes: Axes, result: Mapping[str, Any]) -> None:
    for index, (ratio, requests) in enumerate(_by_ratio(result).items()):
        times = [request["at_s"] for request in requests]
        values = [request["ttft"] for request in requests]
        axes.plot(times, values, ".", markersize=4, color=COLOURS[index % len(COLOURS)], label=ratio)
    axes.set_title("Time to first token, ms, by the time of sending", fontsize="medium")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _legend(axes, "keep ratio")


def _gauges(axes: Axes, readings: Sequence[Mapping[str, Any]]) -> None:
    times = [reading["at_s"] for reading in readings]
    usage = [np.nan if reading["kv_cache_usage"] is None else 100 * reading["kv_cache_usage"] for reading in readings]
    waiting = [np.nan if reading["waiting"] is None else reading["waiting"] for reading in readings]
    axes.plot(times, usage, color=COLOURS[2], label="KV cache in use, %")
    axes.plot(times, waiting, color=COLOURS[3], label="requests waiting")
    axes.set_title("Server", fontsize="medium")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    _legend(axes)


def _edges(result: Mapping[str, Any]) -> NDArray[np.float64]:
    """Edges of equal bins over the run; a second wide, or wider in a long run."""
    seconds = max(result["duration"], 1.0)
    return np.linspace(0, seconds, min(_BINS, int(np.ceil(seconds))) + 1)


def _legend(axes: Axes, title: str | None = None) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title, fontsize="small", title_fontsize="small")
