"""What a panel's queries return from a real Prometheus, named and shaped as Grafana would show it."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

import httpx
import numpy as np
import yaml
from numpy.typing import NDArray
from panels import GRAFANA, Json, filled

POINTS = 240
"""Points of a curve at most, as a panel some hundred pixels wide asks for."""


@dataclass(frozen=True, slots=True)
class Series:
    """One curve.

    labels: of the samples, without the metric's name.
    times, values: (n,) seconds since the epoch, increasing and evenly spaced; NaN where there is no sample.
    """

    name: str
    labels: dict[str, str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float | None:
        """The latest finite value: what Grafana calls the last that is not null; NaN counts as no value here."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite[-1]) if finite.size else None


@dataclass(frozen=True, slots=True)
class Window:
    """A time range of one Prometheus.

    start, end: seconds since the epoch.
    scrape: seconds between two scrapes.
    """

    url: str
    start: float
    end: float
    scrape: float

    @property
    def step(self) -> float:
        """Seconds between two points: a multiple of the scrape interval, as Grafana rounds it."""
        return max(self.scrape, math.ceil((self.end - self.start) / POINTS / self.scrape) * self.scrape)

    def filled(self, expr: str) -> str:
        """A query with Grafana's variables: its rate interval is a step and a scrape, at least four scrapes."""
        interval = max(self.step + self.scrape, 4 * self.scrape)
        return filled(expr, interval=f"{interval:g}s", window=f"{math.ceil(self.end - self.start)}s")


def latest(url: str, minutes: float) -> Window:
    """The last minutes that a Prometheus has recorded, at the scrape interval that Grafana is told of."""
    file = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    now = time.time()
    return Window(url, now - 60 * minutes, now, float(source["jsonData"]["timeInterval"].removesuffix("s")))


def read(window: Window, target: Json) -> list[Series]:
    """The series of one of a panel's targets: of a single point at the window's end when it is instant."""
    expr = window.filled(target["expr"])
    if target["instant"]:
        found = _get(window.url, "query", query=expr, time=window.end)["result"]
        times = np.array([window.end])
        return [_series(target, entry["metric"], times, [entry["value"]]) for entry in found]
    start = math.ceil(window.start / window.step) * window.step
    times = np.arange(start, window.end, window.step)
    asked = {"query": expr, "start": start, "end": float(times[-1]), "step": window.step}
    found = _get(window.url, "query_range", **asked)["result"]
    return [_series(target, entry["metric"], times, entry["values"]) for entry in found]


def _series(target: Json, metric: dict[str, str], times: NDArray[np.float64], samples: list[list]) -> Series:
    labels = {name: value for name, value in metric.items() if name != "__name__"}
    at = {round(float(when), 3): float(value) for when, value in samples}
    values = np.array([at.get(round(float(when), 3), math.nan) for when in times])
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target["legendFormat"])
    return Series(name, labels, times, values)


def cells(series: list[Series]) -> tuple[list[float], NDArray[np.float64]]:
    """A histogram's buckets over time, no longer cumulative.

    Returns:
        Upper bounds in rising order, +Inf left out, and (bounds, times) observations, NaN where there is no sample.
    """
    rising = sorted(series, key=lambda one: float(one.labels["le"]))
    counts = np.diff(np.array([one.values for one in rising]), axis=0, prepend=0)
    bounds = [float(one.labels["le"]) for one in rising]
    finite = [index for index, bound in enumerate(bounds) if math.isfinite(bound)]
    return [bounds[index] for index in finite], counts[finite]


def _get(url: str, path: str, **parameters: object) -> Json:
    answer = httpx.get(f"{url}/api/v1/{path}", params=parameters, timeout=60)
    body = answer.json()
    if body["status"] != "success":
        raise RuntimeError(f"Prometheus refused {parameters}: {body['error']}")
    return body["data"]
