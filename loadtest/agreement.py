"""Whether two tools measured the same: pooled percentiles of all runs, within a tenth or five milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

RELATIVE: Final = 0.10
ABSOLUTE_MS: Final = 5.0
PERCENTILES: Final = (50, 99)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure as the bench and as our users measured it. `runs`: the pairs of the single runs."""

    name: str
    unit: str
    bench: float
    ours: float
    runs: tuple[tuple[float, float], ...]

    @property
    def difference(self) -> float:
        return self.ours - self.bench

    @property
    def agrees(self) -> bool:
        """Within a tenth of the bench's figure; a time also within 5 ms."""
        gap = abs(self.difference)
        return gap <= RELATIVE * abs(self.bench) or (self.unit == "ms" and gap <= ABSOLUTE_MS)


def compare(bench: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Time to first token and per output token at p50 and p99 over all requests, and mean throughput.

    Args:
        bench: results of `vllm bench serve` with details.
        ours: as many results of our own, in the same order; the keys are the same.
    """
    pairs = list(zip(bench, ours, strict=True))
    found = [
        Comparison(
            f"{name} p{percent}",
            "ms",
            _percentile((value for one in bench for value in values(one)), percent),
            _percentile((value for one in ours for value in values(one)), percent),
            tuple((_percentile(values(theirs), percent), _percentile(values(own), percent)) for theirs, own in pairs),
        )
        for name, values in (("TTFT", _ttfts), ("TPOT", _tpots))
        for percent in PERCENTILES
    ]
    for key, unit in (("request_throughput", "requests/s"), ("output_throughput", "tokens/s")):
        runs = tuple((float(theirs[key]), float(own[key])) for theirs, own in pairs)
        means = np.mean(runs, axis=0)
        found.append(Comparison(key.replace("_", " "), unit, float(means[0]), float(means[1]), runs))
    return found


def _ttfts(result: Mapping[str, Any]) -> list[float]:
    """Milliseconds, of the answered requests."""
    return [1000 * ttft for ttft, error in zip(result["ttfts"], result["errors"], strict=True) if not error]


def _tpots(result: Mapping[str, Any]) -> list[float]:
    """Milliseconds per token after the first, of the answered requests."""
    columns = (result[key] for key in ("ttfts", "latencies", "output_lens", "errors"))
    return [
        1000 * (latency - ttft) / (tokens - 1)
        for ttft, latency, tokens, error in zip(*columns, strict=True)
        if not error and tokens > 1
    ]


def _percentile(values: Iterable[float], percent: float) -> float:
    """Exact, over all values; raises ValueError without any."""
    found = list(values)
    if not found:
        raise ValueError("a run without an answered request cannot be compared")
    return float(np.percentile(found, percent))
