"""Three of vLLM's gauges, read while a run lasts: KV cache in use, requests waiting and running.

Looks for the lines by name instead of parsing the page: a parser would hold up the load generator for milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KV_CACHE: Final = "vllm:kv_cache_usage_perc"
WAITING: Final = "vllm:num_requests_waiting"
RUNNING: Final = "vllm:num_requests_running"


@dataclass(frozen=True, slots=True)
class Reading:
    """At one moment on a monotonic clock. The usage is in [0, 1], the mean over engines; the counts are sums.

    None stands for a gauge the server does not have.
    """

    at_s: float
    kv_cache_usage: float | None
    waiting: float | None
    running: float | None


def read_gauges(page: str, at_s: float) -> Reading:
    """Read the text of /metrics."""
    usage, waiting, running = (_values(page, name) for name in (KV_CACHE, WAITING, RUNNING))
    return Reading(at_s, sum(usage) / len(usage) if usage else None, _sum(waiting), _sum(running))


def _values(page: str, name: str) -> list[float]:
    """Values of the samples of exactly this name, with or without labels."""
    lines = (line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} ")))
    return [float(line.rpartition(" ")[2]) for line in lines]


def _sum(values: list[float]) -> float | None:
    return sum(values) if values else None
