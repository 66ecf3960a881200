"""Capacity, rate: requests per second of one replica, from what was measured and from nothing else.

A figure that was not measured as it is used says so: its basis is `scaled` or `assumed`.
docs/operate/scaling.md, "Rate".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from .capacity_tokens import Request, prompt_tokens

Basis = Literal["measured", "scaled", "assumed"]
Limit = Literal["KV memory", "users", "tokens/s"]

_SAME_LOAD: Final = 1.05
"""Users / latency and tokens per second are two views of one run; first and last answers set them apart a little."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One replica under one steady load.

    users: requests under way at a time. ttft_s, tpot_s: means. output_rate: output tokens per second of all users.
    request: what was sent. within_slo: whether the run kept its service level, None when it had none.
    """

    keep_ratio: float
    users: float
    ttft_s: float
    tpot_s: float
    output_rate: float
    request: Request
    within_slo: bool | None = None
    basis: Basis = "measured"

    def latency(self, output: float) -> float:
        """Seconds from sending to the last of `output` tokens: TTFT + (output - 1) x TPOT."""
        return self.ttft_s + (output - 1) * self.tpot_s


@dataclass(frozen=True, slots=True)
class Rate:
    """What a replica carries: requests per second at a concurrency and a latency, and what bounds it."""

    per_second: float
    users: float
    latency_s: float
    limit: Limit
    basis: Basis


def little(users: float, latency_s: float) -> float:
    """Little's law: requests per second = requests under way / seconds each of them takes."""
    return users / latency_s


def replica_rate(measured: Measurement, output: float, fit: float = math.inf) -> Rate:
    """Requests per second of a replica.

    users / latency with users = min(measured users, requests that fit the KV cache), at most measured output tokens
    per second / output tokens per request. More users than were measured are never assumed to go faster.

    Args:
        measured: the load.
        output: tokens per answer; another number than was measured makes the rate a scaled one.
        fit: requests that fit the KV cache; fewer than the measured users scale the rate, too.
    """
    users = min(measured.users, fit)
    latency = measured.latency(output)
    by_latency, by_tokens = little(users, latency), measured.output_rate / output
    as_measured = users == measured.users and math.isclose(output, measured.request.output, rel_tol=0.01)
    basis: Basis = measured.basis if as_measured or measured.basis == "assumed" else "scaled"
    if users < measured.users and by_latency <= by_tokens:
        return Rate(by_latency, users, latency, "KV memory", basis)
    limit: Limit = "users" if by_latency <= _SAME_LOAD * by_tokens else "tokens/s"
    return Rate(min(by_latency, by_tokens), users, latency, limit, basis)


def largest_load(measured: Sequence[Measurement], users: float | None = None) -> Measurement | None:
    """The load of one keep ratio that a replica is sized for.

    With `users`, the measurement at that number. Without, the most users that kept the SLO as all fewer did; of runs
    without an SLO, the one with most output tokens per second. None when there is no such measurement.
    """
    if users is not None:
        return next((one for one in measured if one.users == users), None)
    if all(one.within_slo is None for one in measured):
        return max(measured, key=lambda one: one.output_rate, default=None)
    best = None
    for one in sorted(measured, key=lambda one: one.users):
        if not one.within_slo:
            break
        best = one
    return best


def at_ratio(keep_ratio: float, loads: Sequence[Measurement]) -> Measurement | None:
    """The measurement at a keep ratio, or a straight line through its two neighbours, which is `scaled`.

    The line goes through TTFT, TPOT and output rate, over prompt tokens. Neighbours at different numbers of users
    belong to no one line, and nothing is carried on beyond the smallest or largest ratio: None.

    Args:
        keep_ratio: wanted.
        loads: one per measured ratio.
    """
    exact = next((one for one in loads if math.isclose(one.keep_ratio, keep_ratio)), None)
    if exact is not None:
        return exact
    below = max((one for one in loads if one.keep_ratio < keep_ratio), key=lambda one: one.keep_ratio, default=None)
    above = min((one for one in loads if one.keep_ratio > keep_ratio), key=lambda one: one.keep_ratio, default=None)
    if below is None or above is None or below.users != above.users:
        return None
    low, high = (prompt_tokens(one.request, one.keep_ratio) for one in (below, above))
    way = (prompt_tokens(above.request, keep_ratio) - low) / (high - low) if high > low else 1.0
    return replace(
        above,
        keep_ratio=keep_ratio,
        ttft_s=_between(below.ttft_s, above.ttft_s, way),
        tpot_s=_between(below.tpot_s, above.tpot_s, way),
        output_rate=_between(below.output_rate, above.output_rate, way),
        basis="assumed" if "assumed" in (below.basis, above.basis) else "scaled",
    )


def _between(low: float, high: float, way: float) -> float:
    return low + way * (high - low)
