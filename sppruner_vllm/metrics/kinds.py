"""Kinds of metric families.

A family is built on first use, in the process that observes it: vLLM may switch prometheus_client to its multi-process
mode before that. Counters and histograms add up over processes by themselves; a gauge says how it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from prometheus_client import Counter, Gauge, Histogram

from sppruner_vllm.metrics.labels import Label


@dataclass(frozen=True)
class Family:
    """What all families have.

    name: as it is built; a counter is scraped with `_total` after it.
    help: the line that /metrics shows.
    note: what the documentation adds.
    """

    kind: ClassVar[str]
    name: str
    help: str
    labels: tuple[Label, ...] = ()
    note: str = ""

    @property
    def scraped_name(self) -> str:
        return self.name

    @property
    def label_names(self) -> list[str]:
        return [label.name for label in self.labels]


@dataclass(frozen=True)
class CounterFamily(Family):
    """Only ever rises; summed over processes."""

    kind = "counter"

    @property
    def scraped_name(self) -> str:
        return f"{self.name}_total"

    @cached_property
    def metric(self) -> Counter:
        return Counter(self.name, self.help, self.label_names)


@dataclass(frozen=True)
class HistogramFamily(Family):
    """Summed over processes, bucket by bucket."""

    kind = "histogram"
    buckets: tuple[float, ...] = ()

    @cached_property
    def metric(self) -> Histogram:
        return Histogram(self.name, self.help, self.label_names, buckets=self.buckets)


@dataclass(frozen=True)
class GaugeFamily(Family):
    """Has one series for all processes, never one per process.

    across: `livesum` adds the processes that live; `mostrecent` takes the value that was set last, for facts that are
    the same in every process.
    """

    kind = "gauge"
    across: Literal["livesum", "mostrecent"] = "mostrecent"

    @cached_property
    def metric(self) -> Gauge:
        return Gauge(self.name, self.help, self.label_names, multiprocess_mode=self.across)
