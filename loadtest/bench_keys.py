"""A run's figures under the names and by the definitions of `vllm bench serve --save-result --save-detailed`.

One exception: `itl` holds the gaps between chunks that carry tokens, without the gap after the chunk of the role.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from .sample import Sample
from .slo import Slo

PERCENTILES: Final = (50, 90, 95, 99)


def bench_result(samples: Sequence[Sample], slo: Slo | None) -> dict[str, Any]:
    """The measured part of the bench's result."""
    done = [sample for sample in samples if sample.ok]
    answers = [sample.answer for sample in done]
    seconds = duration(samples)
    sent = sum(answer.usage.prompt_tokens for answer in answers)
    received = sum(answer.usage.output_tokens for answer in answers)
    good = None if slo is None else per_second(sum(map(slo.kept_by, answers)), seconds)
    peak_tokens, peak_requests = _peaks(done)
    result: dict[str, Any] = {
        "duration": seconds,
        "completed": len(done),
        "failed": len(samples) - len(done),
        "total_input_tokens": sent,
        "total_output_tokens": received,
        "request_throughput": per_second(len(done), seconds),
        "request_goodput": good,
        "output_throughput": per_second(received, seconds),
        "total_token_throughput": per_second(sent + received, seconds),
        "input_lens": [sample.answer.usage.prompt_tokens for sample in samples],
        "output_lens": [sample.answer.usage.output_tokens if sample.ok else 0 for sample in samples],
        "ttfts": [sample.answer.ttft_s or 0.0 for sample in samples],
        "itls": [list(sample.answer.gaps_s) for sample in samples],
        "latencies": [sample.answer.end_s for sample in samples],
        "start_times": [sample.start_s for sample in samples],
        "queue_times": [sample.late_s for sample in samples],
        "generated_texts": [sample.answer.text for sample in samples],
        "errors": [sample.answer.error or "" for sample in samples],
        "max_output_tokens_per_s": peak_tokens,
        "max_concurrent_requests": peak_requests,
        "rtfx": 0.0,
    }
    for name, values in latencies(done).items():
        result |= spread(name, values)
    return result


def bench_head(model: str, count: int, rate: float | None, users: int | None) -> dict[str, Any]:
    """The part of the bench's result that says what was run."""
    return {
        "date": datetime.datetime.now().strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": "openai-chat",
        "backend": "openai-chat",
        "label": "loadtest",
        "model_id": model,
        "tokenizer_id": model,
        "num_prompts": count,
        "request_rate": "inf" if rate is None else rate,
        "burstiness": 1.0,
        "max_concurrency": users,
    }


def latencies(done: Sequence[Sample]) -> dict[str, list[float]]:
    """Seconds by the bench's names, of requests that succeeded."""
    answers = [sample.answer for sample in done]
    return {
        "ttft": [answer.ttft_s for answer in answers if answer.ttft_s is not None],
        "tpot": [answer.tpot_s for answer in answers if answer.tpot_s is not None],
        "itl": [gap for answer in answers for gap in answer.gaps_s],
        "e2el": [answer.end_s for answer in answers],
        "client_queue_time": [sample.late_s for sample in done],
    }


def spread(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """Mean, median, deviation and percentiles in milliseconds; all 0 of nothing, as in the bench."""
    values = np.fromiter(seconds, dtype=np.float64) * 1000
    if not values.size:
        values = np.zeros(1)
    figures = {"mean": np.mean(values), "median": np.median(values), "std": np.std(values)}
    figures |= {f"p{percent}": np.percentile(values, percent) for percent in PERCENTILES}
    return {f"{figure}_{name}_ms": float(value) for figure, value in figures.items()}


def duration(samples: Sequence[Sample]) -> float:
    """Seconds from the first request sent to the last answer's end."""
    if not samples:
        return 0.0
    return max(sample.end_s for sample in samples) - min(sample.start_s for sample in samples)


def per_second(count: float, seconds: float) -> float:
    """A rate; 0 when no time passed."""
    return count / seconds if seconds > 0 else 0.0


def _peaks(done: Sequence[Sample]) -> tuple[float, int]:
    """The busiest second: chunks with tokens, and requests under way; two maxima, not of one second."""
    if not done:
        return 0.0, 0
    origin = min(sample.start_s for sample in done)
    seconds = math.ceil(max(sample.end_s for sample in done) - origin) + 1
    chunks, requests = np.zeros(seconds), np.zeros(seconds, dtype=int)
    for sample in done:
        start = sample.start_s - origin
        times = start + (sample.answer.ttft_s or 0.0) + np.cumsum((0.0, *sample.answer.gaps_s))
        np.add.at(chunks, times.astype(int), 1)
        requests[int(start) : int(sample.end_s - origin) + 1] += 1
    return float(chunks.max()), int(requests.max())
