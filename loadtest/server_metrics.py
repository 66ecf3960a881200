"""What the server says of itself while a run lasts: KV cache in use, requests waiting and running, tokens computed; and
the keep ratio that requests get which name none, where it says that.

Looks for the lines by name instead of parsing the page: a parser would hold up the load generator for milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

KV_CACHE: Final = "vllm:kv_cache_usage_perc"
WAITING: Final = "vllm:num_requests_waiting"
RUNNING: Final = "vllm:num_requests_running"
PROMPT: Final = "vllm:prompt_tokens_total"
CACHED: Final = "vllm:prefix_cache_hits_total"
GENERATED: Final = "vllm:generation_tokens_total"
DEFAULT_RATIO: Final = "sppruner_default_keep_ratio"
UNANSWERED: Final = "sppruner_requests_waiting"
_CAPACITY: Final = re.compile(
    r'^vllm:cache_config_info\{.*?[{,]block_size="(\d+)".*?,num_gpu_blocks="(\d+)"', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Reading:
    """At one moment on a monotonic clock. The usage is in [0, 1], the mean over engines; the counts are sums.

    default_ratio: keep ratio of requests that name none. unanswered: requests whose first token is not there yet, as
        far as that ratio follows them.

    None stands for a gauge the server does not have.
    """

    at_s: float
    kv_cache_usage: float | None
    waiting: float | None
    running: float | None
    default_ratio: float | None = None
    unanswered: float | None = None


def read_gauges(page: str, at_s: float) -> Reading:
    """Read the text of /metrics."""
    usage, waiting, running = (_values(page, name) for name in (KV_CACHE, WAITING, RUNNING))
    default, unanswered = (_values(page, name) for name in (DEFAULT_RATIO, UNANSWERED))
    return Reading(
        at_s,
        sum(usage) / len(usage) if usage else None,
        _sum(waiting),
        _sum(running),
        min(default, default=None),
        _sum(unanswered),
    )


def kv_turns(page: str) -> float | None:
    """How many times the tokens that were computed so far fill the KV cache; None where the page does not tell.

    Blocks are taken in turn: after once or twice each has been written to.
    """
    capacity = sum(int(size) * int(blocks) for size, blocks in _CAPACITY.findall(page))
    prompt, cached, generated = (_sum(_values(page, name)) for name in (PROMPT, CACHED, GENERATED))
    if not capacity or prompt is None:
        return None
    return (prompt - (cached or 0.0) + (generated or 0.0)) / capacity


def _values(page: str, name: str) -> list[float]:
    """Values of the samples of exactly this name, with or without labels."""
    lines = (line for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} ")))
    return [float(line.rpartition(" ")[2]) for line in lines]


def _sum(values: list[float]) -> float | None:
    return sum(values) if values else None
