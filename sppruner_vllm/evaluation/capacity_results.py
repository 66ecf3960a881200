"""Capacity, reports: measurements of one replica from result files of the load test.

The files are read as JSON, with the keys of `vllm bench serve` and `sppruner` beside them: docs/operate/loadtest.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .capacity_rate import Measurement
from .capacity_tokens import Request


def read_results(path: Path) -> tuple[Measurement, ...]:
    """The measurements at a path: one result.json, or all of a folder, such as a sweep's.

    A sweep's warm-up is left out: it is no steady load.

    Raises:
        ValueError: there is none, or one of them is no measure of a single keep ratio.
    """
    files = [path] if path.is_file() else sorted(path.rglob("result.json"))
    files = [file for file in files if "warm-up" not in file.relative_to(path).parts]
    if not files:
        raise ValueError(f"no result.json of a load test in {path}")
    found = []
    for file in files:
        try:
            found.append(measurement(json.loads(file.read_text())))
        except (ValueError, KeyError, TypeError) as problem:
            what = f"it has no {problem}" if isinstance(problem, KeyError) else str(problem)
            raise ValueError(f"{file} cannot be used: {what}") from problem
    return tuple(found)


def measurement(result: Mapping[str, Any]) -> Measurement:
    """The figures of one run.

    In an open loop the users are those of Little's law: requests per second x mean latency.

    Raises:
        ValueError: several keep ratios or kinds of requests, or no answer.
    """
    ours, done = result["sppruner"], result["completed"]
    if not done:
        raise ValueError("no request was answered")
    if len(ours["ratios"]) != 1 or len(ours["scenarios"]) != 1:
        raise ValueError("it mixes keep ratios or scenarios; a replica is sized from one of each")
    originals = {request["visual_original"] for request, error in _answered(result) if not error}
    if len(originals) != 1:
        raise ValueError("its requests differ in visual tokens")
    kept = ours["visual_tokens"]["retained"] / done
    concurrency = result["max_concurrency"]
    users = result["request_throughput"] * result["mean_e2el_ms"] / 1000 if concurrency is None else concurrency
    slo = ours["slo"]
    return Measurement(
        keep_ratio=_ratio(ours),
        users=float(users),
        ttft_s=result["mean_ttft_ms"] / 1000,
        tpot_s=result["mean_tpot_ms"] / 1000,
        output_rate=result["output_throughput"],
        request=Request(
            visual=_images(originals.pop(), ours),
            text=result["total_input_tokens"] / done - kept,
            output=result["total_output_tokens"] / done,
        ),
        within_slo=None if slo is None else ours["good_share"] >= slo["share"],
    )


def _answered(result: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    return list(zip(result["sppruner"]["requests"], result["errors"], strict=True))


def _ratio(ours: Mapping[str, Any]) -> float:
    """The ratio that was asked for; where none was, 1 if everything was kept."""
    name = ours["ratios"][0]["keep_ratio"]
    if name != "default":
        return float(name)
    if math.isclose(ours["visual_tokens"]["retained_ratio"], 1):
        return 1.0
    raise ValueError("its requests named no keep ratio, and the server reduced them")


def _images(original: int, ours: Mapping[str, Any]) -> tuple[int, ...]:
    """Visual tokens of each image: requests of several show pictures of one size."""
    several = ours["scenarios"][0]["scenario"] == "several-images"
    count = ours["options"]["images"] if several else 1
    return (original // count,) * count if original else ()
