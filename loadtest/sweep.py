"""`make loadtest`: keep ratios by concurrency against one server, and a report of what the ratio buys.

    python -m loadtest.sweep [--url URL | --model MODEL] [--ratios 1,0.5] [--users 1,4] [-- vLLM flags]

Cells are kept as they are measured; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .cells import Cell, Measured, grid, keep, kept
from .mix import read_ratio, show_ratio
from .process import LoadFailed, run_locust
from .slo import Slo, parse_slo
from .sweep_page import Sweep, write_sweep
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/loadtest")
STOPPED: Final = 130
WARMUP: Final = 3
WARMUP_SESSIONS: Final = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep and report. Returns the exit status: 0 also where cells missed the SLO, which is what a sweep looks for."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True)
    try:
        slo = parse_slo(options.slo, options.slo_share)
        ratios = [read_ratio(text) for text in options.ratios.split(",")]
        users = sorted({int(text) for text in options.users.split(",")})
        with serving(
            options.url, options.model, options.flags, options.out / "server.log", _waiting(console)
        ) as server:
            measured = _measure(options, server, slo, ratios, users, console)
    except (ValueError, NoServer, LoadFailed) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"Stopped. What was measured is in {options.out}; the same command goes on from there.")
        return STOPPED
    sweep = Sweep(server, options.device or machine(), slo, tuple(measured), _load(options))
    write_sweep(sweep, options.out)
    console.print(f"Report: {options.out / 'report.html'} and {options.out / 'report.md'}", highlight=False)
    return 0


def _measure(
    options: argparse.Namespace,
    server: Target,
    slo: Slo,
    ratios: Sequence[float | None],
    users: Sequence[int],
    console: Console,
) -> list[Measured]:
    cells = list(grid(ratios, users))
    columns = (
        TextColumn("{task.description}", justify="left"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    settings = {cell: _settings(options, server, cell) for cell in cells}
    results = {cell: kept(options.out / "cells" / cell.name, settings[cell]) for cell in cells}
    if None in results.values():  # a cold server would be held against the first cell
        everything = {"keep_ratios": ",".join(map(show_ratio, ratios)), "users": max(users), "seed": options.seed}
        many = {"sessions": WARMUP_SESSIONS, "run_time": None, "max_error_ratio": 1.0, "model": server.model}
        run_locust(server.url, options.out / "warm-up", {**_load(options), **everything, **many})
    measured = []
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(cells))
        for cell in cells:
            bar.update(task, description=f"keep ratio {show_ratio(cell.ratio)}, {cell.users} users")
            folder = options.out / "cells" / cell.name
            result = results[cell]
            if result is None:
                more = {"model": server.model, "warmup": WARMUP, "max_error_ratio": 1.0}
                result = run_locust(server.url, folder, {**_cell_load(options, cell), **more})
                keep(folder, settings[cell])
                results[cell] = result
            measured.append(Measured(cell, result))
            bar.advance(task)
    return measured


def _settings(options: argparse.Namespace, server: Target, cell: Cell) -> dict[str, Any]:
    """All that a cell's result depends on."""
    about = {"model": server.root, "version": server.version, "flags": options.flags}
    return {**_cell_load(options, cell), **about}


def _cell_load(options: argparse.Namespace, cell: Cell) -> dict[str, Any]:
    """Another seed for each: what an earlier cell sent would come from caches, its encoder rows at any ratio."""
    slo = {"slo": options.slo, "slo_share": options.slo_share}
    seed = (options.seed * 1000 + cell.users) * 10_000 + round(9_999 * (cell.ratio or 0))
    return {**_load(options), "keep_ratios": show_ratio(cell.ratio), "users": cell.users, "seed": seed, **slo}


def _load(options: argparse.Namespace) -> dict[str, Any]:
    """What every cell sends: cold pictures and answers of one length, so that cells differ in ratio and users alone."""
    return {
        "scenarios": options.scenarios,
        "image_size": options.image_size,
        "image_pool": options.image_pool,
        "max_tokens": options.max_tokens,
        "ignore_eos": True,
        "run_time": f"{options.seconds}s",
    }


def _waiting(console: Console) -> Any:
    said: list[bool] = []

    def wait(seconds: float) -> None:
        if not said:
            console.print("Starting the server; on two CPU cores that takes about a minute.")
            said.append(True)

    return wait


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.sweep", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--ratios", default="1,0.5,0.222,0.111", help="keep ratios (default: %(default)s)")
    add("--users", default="1,2,4,8,16", help="concurrencies (default: %(default)s)")
    add("--seconds", type=int, default=20, help="length of a cell (default: %(default)s)")
    add("--scenarios", default="single", help="mix of scenarios (default: %(default)s)")
    add("--image-size", default="672x672", help="default: %(default)s")
    add("--image-pool", type=int, default=256, help="different images per cell (default: %(default)s)")
    add("--max-tokens", type=int, default=32, help="tokens of every answer (default: %(default)s)")
    add("--slo", default="ttft:1000,tpot:100", help="limits per request in ms (default: %(default)s)")
    add("--slo-share", type=float, default=0.99, help="share of requests that must keep them (default: %(default)s)")
    add("--seed", type=int, default=1, help="default: %(default)s")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    return parse(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
