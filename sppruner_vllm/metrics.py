"""Every metric family of the product.

Families are created on first use, in the process that observes them: vLLM may switch prometheus_client to its
multi-process mode before that. Names follow the Prometheus guide; labels are bounded.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

from prometheus_client import Counter, Histogram

from .accounting import VisualTokens

Outcome = Literal["success", "client_error", "server_error", "client_disconnect"]

_RATIO_BUCKETS: Final = tuple(step / 20 for step in range(1, 21))
_TOKEN_BUCKETS: Final = tuple(float(digit * 10**power) for power in range(5) for digit in (1, 2, 5))
_SECONDS_BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@cache
def visual_tokens_original() -> Counter:
    return Counter("sppruner_visual_tokens_original", "Visual tokens of served requests, before reduction.")


@cache
def visual_tokens_retained() -> Counter:
    return Counter("sppruner_visual_tokens_retained", "Visual tokens of served requests, after reduction.")


@cache
def retained_ratio() -> Histogram:
    return Histogram(
        "sppruner_retained_ratio",
        "Retained over original visual tokens of a request.",
        buckets=_RATIO_BUCKETS,
    )


@cache
def retained_tokens() -> Histogram:
    return Histogram(
        "sppruner_retained_tokens", "Retained visual tokens of a request that has any.", buckets=_TOKEN_BUCKETS
    )


@cache
def requests() -> Counter:
    return Counter("sppruner_requests", "Requests to our routes, by outcome.", ["outcome"])


@cache
def selection_seconds() -> Histogram:
    return Histogram(
        "sppruner_selection_seconds",
        "Time a worker spent selecting the visual tokens of one batch of images.",
        ["method"],
        buckets=_SECONDS_BUCKETS,
    )


@cache
def skipped() -> Counter:
    return Counter(
        "sppruner_skipped", "Requests with images or videos of which nothing was reduced, by reason.", ["reason"]
    )


def count_visual_tokens(tokens: VisualTokens) -> None:
    """Account for the images and videos of one served request."""
    if tokens.skipped_reason is not None:
        skipped().labels(tokens.skipped_reason).inc()
    if tokens.original == 0:
        return
    visual_tokens_original().inc(tokens.original)
    visual_tokens_retained().inc(tokens.retained)
    retained_ratio().observe(tokens.retained / tokens.original)
    retained_tokens().observe(tokens.retained)


def count_request(outcome: Outcome) -> None:
    """Account for the end of one request."""
    requests().labels(outcome).inc()
