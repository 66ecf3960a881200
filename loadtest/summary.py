"""What a run came to: the bench's keys at the top level, and under `sppruner` what the bench does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from .arrivals import Pace
from .bench_keys import bench_head, bench_result, duration, latencies, per_second, spread
from .mix import show_ratio
from .sample import Sample
from .server_metrics import Reading
from .slo import Slo, exit_status

OURS: Final = "sppruner"
_SHOWN: Final = ("ttft", "tpot", "itl", "e2el")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run was asked to do, as far as its result has to say it.

    rate: sessions per second of an open loop; None for a closed one, which has `users` instead.
    options: everything else, for the reader of the report.
    """

    model: str
    shape: str
    users: int | None
    rate: float | None
    slo: Slo | None
    error_bound: float
    options: dict[str, Any]


def summarise(
    samples: Sequence[Sample], setting: Setting, pace: Pace | None, readings: Sequence[Reading]
) -> dict[str, Any]:
    """The result of a run, ready for JSON.

    Args:
        samples: every request, in any order.
        setting: of the run.
        pace: of an open loop.
        readings: of the server's gauges during the run; may be empty.
    """
    samples = sorted(samples, key=lambda sample: sample.start_s)
    answers = [sample.answer for sample in samples]
    origin = samples[0].start_s if samples else 0.0
    ours = {
        "shape": setting.shape,
        "options": setting.options,
        "slo": setting.slo and {**setting.slo.limits, "share": setting.slo.share},
        "good_share": setting.slo and setting.slo.good_share(answers),
        "exit_status": exit_status(answers, setting.slo, setting.error_bound),
        "pace": pace and {**asdict(pace), "kept": pace.kept},
        "visual_tokens": visual_tokens(samples),
        "ratios": _by(samples, setting.slo, lambda sample: show_ratio(sample.keep_ratio), "keep_ratio"),
        "scenarios": _by(samples, setting.slo, lambda sample: sample.scenario, "scenario"),
        "server": {
            "kv_cache_usage": _mean_and_max([reading.kv_cache_usage for reading in readings]),
            "waiting": _mean_and_max([reading.waiting for reading in readings]),
            "running": _mean_and_max([reading.running for reading in readings]),
            "readings": [{**asdict(reading), "at_s": reading.at_s - origin} for reading in readings],
        },
        "requests": [_request(sample, origin) for sample in samples],
    }
    head = bench_head(setting.model, len(samples), setting.rate, setting.users)
    return {**head, **bench_result(samples, setting.slo), OURS: ours}


def visual_tokens(samples: Sequence[Sample]) -> dict[str, float]:
    """Tokens of the answered requests, as sent and as kept, and their ratio; the ratio is 1 without an image."""
    original = sum(sample.answer.usage.visual_original for sample in samples if sample.ok)
    retained = sum(sample.answer.usage.visual_retained for sample in samples if sample.ok)
    return {"original": original, "retained": retained, "retained_ratio": retained / original if original else 1.0}


def _by(samples: Sequence[Sample], slo: Slo | None, key: Callable[[Sample], str], name: str) -> list[dict[str, Any]]:
    """One group per value of the key. Rates are over the whole run, so they add up to the run's."""
    seconds = duration(samples)
    return [
        {name: value, **_group([sample for sample in samples if key(sample) == value], slo, seconds)}
        for value in dict.fromkeys(map(key, samples))
    ]


def _group(samples: Sequence[Sample], slo: Slo | None, seconds: float) -> dict[str, Any]:
    done = [sample for sample in samples if sample.ok]
    group: dict[str, Any] = {
        "completed": len(done),
        "failed": len(samples) - len(done),
        "request_throughput": per_second(len(done), seconds),
        "output_throughput": per_second(sum(sample.answer.usage.output_tokens for sample in done), seconds),
        "good_share": slo and slo.good_share([sample.answer for sample in samples]),
        "visual_tokens": visual_tokens(samples),
    }
    spreads = latencies(done)
    for metric in _SHOWN:
        group |= spread(metric, spreads[metric])
    return group


def _request(sample: Sample, origin: float) -> dict[str, Any]:
    return {
        "at_s": sample.start_s - origin,
        "session": sample.session,
        "turn": sample.turn,
        "scenario": sample.scenario,
        "keep_ratio": sample.keep_ratio,
        "visual_original": sample.answer.usage.visual_original,
        "visual_retained": sample.answer.usage.visual_retained,
    }


def _mean_and_max(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"mean": sum(known) / len(known), "max": max(known)} if known else None
