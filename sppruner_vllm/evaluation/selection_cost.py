"""`make bench-selection`: what choosing tokens costs, by method, tokens, width and images of a step.

Times are of this machine. Launches, bytes moved and memory are counted as an accelerator would see them; a cache spares
it some of the bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from sppruner_vllm.reduction import DEFAULT_METHOD, ImageTokens, get_method, reduce

from .operations import Operations


@dataclass(frozen=True, slots=True)
class Case:
    """One selection to measure.

    tokens: N of each image, a square. width: D. keep_ratio: K / N. images: in one call. words: tokens of the question.
    """

    method: str
    tokens: int
    width: int
    images: int = 1
    keep_ratio: float = 0.222
    words: int = 24


@dataclass(frozen=True, slots=True)
class Cost:
    """What one case costs.

    seconds: of each run. launches, moved, peak: see `Operations`.
    """

    case: Case
    seconds: list[float]
    launches: int
    moved: int
    peak: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(case: Case, device: torch.device, *, runs: int, dtype: torch.dtype = torch.bfloat16) -> Cost:
    """Seconds of each run, after two that are not counted, and counts of one run without data."""
    images, mean = _images(case, device, dtype)
    seconds = []
    for _ in range(runs + 2):
        _finish(device)
        started = time.perf_counter()
        reduce(images, case.method, text_mean=mean)
        _finish(device)
        seconds.append(time.perf_counter() - started)
    empty, empty_mean = _images(case, torch.device("meta"), dtype)
    # What is kept per grid is there from the second call on.
    reduce(empty, case.method, text_mean=empty_mean)
    with Operations() as counted:
        reduce(empty, case.method, text_mean=empty_mean)
    return Cost(case, seconds[2:], counted.launches, counted.moved, counted.peak)


def _images(case: Case, device: torch.device, dtype: torch.dtype) -> tuple[list[ImageTokens], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        if device.type == "meta":
            return torch.empty(shape, device=device, dtype=dtype)
        return torch.randn(shape, generator=generator).to(device, dtype)

    side = math.isqrt(case.tokens)
    budget = math.ceil(side * side * case.keep_ratio)
    hears = get_method(case.method).hears_states
    images = []
    for _ in range(case.images):
        rows, query = normal(side * side, case.width), normal(case.words, case.width)
        states = normal(case.words, case.width) if hears else None
        images.append(ImageTokens(rows, (side, side), query, budget, states=states))
    return images, normal(case.width).float()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cases(methods: list[str], tokens: list[int], widths: list[int], images: list[int]) -> Iterator[Case]:
    """Every combination; of methods that are not the default, one image of the fewest tokens at the least width only.

    They pick one token after another, some of them out of a square of the tokens: more of it would take hours.
    """
    for method in methods:
        plain = Case(method, tokens[0], widths[0])
        if method != DEFAULT_METHOD:
            yield plain
            continue
        for count in images:
            yield from (replace(plain, tokens=n, width=d, images=count) for n in tokens for d in widths)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-selection", description=__doc__)
    parser.add_argument("--methods", nargs="+", default=[DEFAULT_METHOD, "uniform", "maxmin", "dpp", "coverage"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[1296, 4096, 16384], help="of an image, squares")
    parser.add_argument("--widths", nargs="+", type=int, default=[256, 2048, 3584])
    parser.add_argument("--images", nargs="+", type=int, default=[1, 8], help="in one step")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench-selection.json"), help="every run, as JSON")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = []
    table = Table("method", "N", "K", "D", "images", "ms, median", "min", "max", "launches", "GB moved", "peak MB")
    for case in cases(options.methods, options.tokens, options.widths, options.images):
        cost = measure(case, device, runs=options.runs)
        found.append(cost)
        times = [f"{1000 * value:.1f}" for value in (cost.median, min(cost.seconds), max(cost.seconds))]
        kept = math.ceil(case.tokens * case.keep_ratio)
        counts = [str(cost.launches), f"{cost.moved / 1e9:.2f}", f"{cost.peak / 1e6:.0f}"]
        table.add_row(case.method, *map(str, (case.tokens, kept, case.width, case.images)), *times, *counts)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads",
    }
    options.out.write_text(json.dumps({**facts, "costs": [asdict(cost) for cost in found]}, indent=2))
    Console().print(table)


if __name__ == "__main__":
    main()
