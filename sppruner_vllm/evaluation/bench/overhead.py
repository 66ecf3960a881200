"""`make bench-overhead`: what the plugin costs at keep ratio 1, against vLLM without it.

Keep ratio 1 promises stock vLLM, speed included. Both engines are alive and take turns batch by batch; then both are
started anew, because two processes differ by chance as well. On the tiny model a fixed cost per step weighs most.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from sppruner_vllm.demo.places import CACHE

from .arms import PLAIN, STOCK, Engine
from .models import MODELS, TINY, BenchModel
from .process import EngineProcess
from .protocol import Done, Question, Task
from .rounds import FIRST

REQUESTS: Final = 8
NEW_TOKENS: Final = 128

Batch = tuple[Done, Done]
"""First tokens about new pictures, then whole answers about the same ones."""

MEASURES: Final[Mapping[str, Callable[[Batch], float]]] = {
    "a request before the engine": lambda batch: batch[0].processing / REQUESTS,
    "first tokens of a batch": lambda batch: batch[0].engine,
    "a step of a batch's answers": lambda batch: _step(batch[1]),
    "first tokens, all in all": lambda batch: batch[0].seconds,
    "answers, all in all": lambda batch: batch[1].seconds,
}


def _step(done: Done) -> float:
    return (done.engine - done.first_steps) / (done.steps - 1)


def batches(engines: Sequence[EngineProcess], repeats: int, seeds: Iterator[int], side: int) -> Iterator[list[Batch]]:
    """A batch of each engine, in turn, after one that is not counted.

    Args:
        engines: to compare. repeats: how often. seeds: of pictures. side: of a picture, in pixels.
    """
    for number in range(repeats + 1):
        pictures = [next(seeds) for _ in range(REQUESTS)]
        questions = tuple(Question(((seed, side),), FIRST) for seed in pictures)
        tasks = [Task(questions, users=REQUESTS, tokens=tokens) for tokens in (1, NEW_TOKENS)]
        order = engines if number % 2 else engines[::-1]
        done = {id(engine): (engine.do(tasks[0]), engine.do(tasks[1])) for engine in order}
        if number:
            yield [done[id(engine)] for engine in engines]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median of some values, and the 95 % interval of the median by their order."""
    ordered = sorted(values)
    reach = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor((len(ordered) - 1) / 2 - reach))
    high = min(len(ordered) - 1, math.ceil((len(ordered) - 1) / 2 + reach))
    return statistics.median(ordered), ordered[low], ordered[high]


def report(found: Sequence[Sequence[Batch]], title: str) -> Table:
    """Args: found: batches of stock and of ours, pair by pair."""
    table = Table("", "stock, ms", "plugin, ms", "difference, µs", "plugin / stock", "95 % interval", title=title)
    for name, part in MEASURES.items():
        stock, plugin = ([part(batches[place]) for batches in found] for place in (0, 1))
        share, low, high = interval([two / one for one, two in zip(stock, plugin, strict=True)])
        extra = statistics.median(two - one for one, two in zip(stock, plugin, strict=True))
        times = [f"{1000 * statistics.median(values):.3f}" for values in (stock, plugin)]
        table.add_row(name, *times, f"{1e6 * extra:.0f}", f"{share:.3f}", f"[{low:.3f}, {high:.3f}]")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-overhead", description=__doc__)
    known = {model.name: model for model in MODELS}
    parser.add_argument("--model", choices=known, default=TINY.name)
    parser.add_argument("--side", type=int, default=336, help="of a picture, in pixels")
    parser.add_argument("--starts", type=int, default=3, help="times that both engines are started")
    parser.add_argument("--repeats", type=int, default=15, help="counted batches per start")
    options = parser.parse_args()
    model = known[options.model]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        log, seeds = Path(scratch) / "engines.log", count(1)
        for _ in track(range(options.starts), description="Starts", console=Console(stderr=True)):
            found += measure(model, (STOCK, PLAIN), options.repeats, options.side, log, seeds)
    title = f"Keep ratio 1, {model.title}, {REQUESTS} requests at once, {len(found)} pairs of batches"
    Console().print(report(found, title))


def measure(
    model: BenchModel, engines: Sequence[Engine], repeats: int, side: int, log: Path, seeds: Iterator[int]
) -> list[list[Batch]]:
    """Start the engines and compare them."""
    folder = model.folder(CACHE / "bench-models")
    dtype = "float32" if model.spec is None else model.spec.dtype
    processes = [EngineProcess(engine, folder, dtype, log, {}) for engine in engines]
    try:
        for process in processes:
            process.wait_until_ready()
        return list(batches(processes, repeats, seeds, side))
    finally:
        for process in processes:
            process.close()


if __name__ == "__main__":
    main()
