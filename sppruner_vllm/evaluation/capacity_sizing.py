"""Capacity, sizing: everything about each keep ratio side by side, and what the reader has to be warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .capacity_fleet import Fleet, Layout, Traffic, size_fleet
from .capacity_memory import Pool, bytes_per_request, concurrent_requests, kv_tokens
from .capacity_rate import Measurement, Rate, at_ratio, largest_load, replica_rate
from .capacity_tokens import Request, prompt_tokens, retained


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be sized.

    request: a typical one. pool: KV cache of a replica. users: concurrency to size for; None takes the most that
    kept the SLO.
    """

    request: Request
    pool: Pool
    traffic: Traffic
    layout: Layout
    ratios: tuple[float, ...]
    users: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One keep ratio. kept: visual tokens per request. fit: requests that fit the KV cache to their end.

    rate and fleet are None where nothing measured allows a figure.
    """

    keep_ratio: float
    kept: int
    prompt: float
    kv_tokens: float
    kv_bytes: int
    fit: int
    rate: Rate | None
    fleet: Fleet | None


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer: a row per keep ratio, and warnings in whole sentences."""

    question: Question
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def make_sizing(question: Question, measured: Sequence[Measurement]) -> Sizing:
    """Size a fleet at every keep ratio.

    Args:
        question: what is to be sized.
        measured: any number of loads per keep ratio. Those of requests with other visual tokens are no measure of
            this one and are left out, with a warning.
    """
    usable = [one for one in measured if one.request.shown == question.request.shown]
    warnings = []
    if len(usable) < len(measured):
        warnings.append(
            f"{len(measured) - len(usable)} of {len(measured)} measurements were made with other images than "
            f"{question.request.original} visual tokens per request and are left out: measure with such images."
        )
    loads = []
    for ratio in sorted({one.keep_ratio for one in usable}):
        load = largest_load([one for one in usable if one.keep_ratio == ratio], question.users)
        if load is not None:
            loads.append(load)
        elif question.users is not None:
            warnings.append(f"Keep ratio {ratio:g} was not measured with {question.users:g} users.")
        else:
            warnings.append(f"Keep ratio {ratio:g} kept the SLO with no number of users that was measured.")
    rows = []
    for ratio in question.ratios:
        load = at_ratio(ratio, loads)
        row = _row(ratio, question, load)
        rows.append(row)
        warnings += _warnings(row, question, load)
    return Sizing(question, tuple(rows), tuple(warnings))


def _row(ratio: float, question: Question, load: Measurement | None) -> Row:
    request = question.request
    prompt = prompt_tokens(request, ratio)
    fit = concurrent_requests(prompt, request.output, question.pool)
    rate = replica_rate(load, request.output, fit) if load is not None and fit else None
    return Row(
        keep_ratio=ratio,
        kept=retained(request, ratio),
        prompt=prompt,
        kv_tokens=kv_tokens(prompt, request.output),
        kv_bytes=bytes_per_request(prompt, request.output, question.pool),
        fit=fit,
        rate=rate,
        fleet=size_fleet(rate.per_second, question.traffic, question.layout) if rate else None,
    )


def _warnings(row: Row, question: Question, load: Measurement | None) -> list[str]:
    name = f"Keep ratio {row.keep_ratio:g}"
    if row.fit == 0:
        return [f"{name}: not one request fits the KV cache."]
    if row.rate is None:
        return [f"{name}: no rate. Nothing was measured at it, or at both of its neighbours with the same users."]
    if row.rate.basis == "assumed":
        return [f"{name}: the rate was given, not measured by this load test."]
    if row.rate.basis == "measured":
        return []
    why = []
    if load is None or load.basis == "scaled":
        why.append("the ratio was not measured; its rate is a straight line between its neighbours")
    if row.rate.limit == "KV memory":
        why.append("fewer requests fit the KV cache than were measured; the latency is that of all of them")
    if load is not None and abs(load.request.output - question.request.output) >= 0.01 * load.request.output:
        why.append(f"answers of {load.request.output:g} tokens were measured, not of {question.request.output:g}")
    return [f"{name}: scaled, not measured: {'; '.join(why)}."]
