"""`make bench` and `make bench-smoke`."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sppruner_vllm.demo.arithmetic import fast_dtype
from sppruner_vllm.demo.places import CACHE

from .arms import ARMS, Arm, engines_of, missing, runnable
from .disturbance import Disturbance
from .models import DEMO, LIKE_3B, LIKE_7B, MODELS, TINY, BenchModel
from .plots import write_plots
from .process import EngineFailed, EngineProcess
from .report import report
from .rounds import Record, Size, measure, save, steps
from .summary import Results

_MARKDOWN: Final = "report.md"
_ROUNDS: Final = {LIKE_3B.name: (4, 2), LIKE_7B.name: (3, 1), DEMO.name: (2, 1)}
"""Counted rounds of one user and of many, for some 25 minutes in all on two cores."""


def sizes(model: BenchModel, options: argparse.Namespace) -> Size:
    """How much of a model is measured."""
    if model == TINY:
        return Size(rounds=1, load_rounds=1, side=model.side, small=504, users={1: 1, 4: 4}, crowd=48)
    if options.quick:
        return Size(rounds=2, load_rounds=1, side=model.side, small=504, users={8: 8})
    rounds, load_rounds = _ROUNDS[model.name]
    return Size(rounds, load_rounds, side=model.side, small=504, users={1: 3, 8: 16, 32: 32})


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Speed against stock vLLM, beside the ideal.")
    known = {model.name: model for model in MODELS}
    parser.add_argument("--models", nargs="+", choices=known, help="default: all")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these, beside stock vLLM")
    parser.add_argument("--quick", action="store_true", help="a few minutes: two rounds, 8 users")
    parser.add_argument("--smoke", action="store_true", help="one round of the tiny model: shows that it runs")
    parser.add_argument("--rounds", type=int, help="counted rounds of single requests")
    parser.add_argument("--no-load", action="store_true", help="one user only")
    parser.add_argument("--dtype", help="default: bfloat16 where this machine has units for it, else float32")
    parser.add_argument("--out", type=Path, default=CACHE / "bench", help="folder of records, report and plots")
    options = parser.parse_args()
    names = options.models or (["tiny"] if options.smoke else [model.name for model in MODELS])
    wanted = [arm for arm in ARMS if options.arms is None or arm == ARMS[0] or arm.name in options.arms]
    try:
        run([known[name] for name in names], wanted, options)
    except EngineFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def run(models: Sequence[BenchModel], wanted: Sequence[Arm], options: argparse.Namespace) -> None:
    """Measure, and write records, report and plots."""
    options.out.mkdir(parents=True, exist_ok=True)
    arms = runnable(wanted)
    results = {}
    disturbance = Disturbance()
    for model in models:
        size = _adjusted(sizes(model, options), options)
        records = measure_model(model, arms, size, options)
        save(records, options.out / f"{model.name}.jsonl")
        results[model] = Results(records, arms, size)
    text = report(
        results, facts(options, disturbance.share()), {arm.name: lacking for arm in wanted if (lacking := missing(arm))}
    )
    (options.out / _MARKDOWN).write_text(text)
    write_plots(results, options.out)
    print(text)


def measure_model(model: BenchModel, arms: Sequence[Arm], size: Size, options: argparse.Namespace) -> list[Record]:
    """All records of one model."""
    folder = model.folder(CACHE / "bench-models")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack, Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"{model.title}: engines start", total=steps(arms, size))
        started = {
            engine.name: stack.enter_context(
                EngineProcess(
                    engine,
                    folder,
                    _dtype(model, options),
                    options.out / f"{model.name}.log",
                    {"num_gpu_blocks_override": model.blocks},
                )
            )
            for engine in engines_of(arms)
        }
        for process in started.values():
            process.wait_until_ready()

        def advance(what: str) -> None:
            bar.update(task, advance=1, description=f"{model.title}: {what}")

        return list(measure(arms, started, size, advance))


def facts(options: argparse.Namespace, disturbed: float | None) -> list[str]:
    """What a reader has to know of the run. disturbed: what other programs took of the machine, if that is known."""
    from importlib.metadata import version

    others = [] if disturbed is None else [f"Other programs took {100 * disturbed:.0f} % of the machine meanwhile."]
    return [
        f"{time.strftime('%Y-%m-%d')}, {torch.get_num_threads()} cores, {platform.machine()}, "
        f"torch {version('torch')}, vLLM on the CPU (model runner V1), eager, {options.dtype or _fast()}. "
        "In brackets: least and most of the rounds.",
        *others,
    ]


def _adjusted(size: Size, options: argparse.Namespace) -> Size:
    from dataclasses import replace

    if options.rounds is not None:
        size = replace(size, rounds=options.rounds)
    return replace(size, load_rounds=0) if options.no_load else size


def _dtype(model: BenchModel, options: argparse.Namespace) -> str:
    if options.dtype:
        return str(options.dtype)
    return "float32" if model.spec is None or model.spec.dtype == "float32" else _fast()


def _fast() -> str:
    return str(fast_dtype("cpu")).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(main())
