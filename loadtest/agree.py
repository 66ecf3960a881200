"""`python -m loadtest.agree`: our users and `vllm bench serve` take turns on one server with the same kind of work.

Each run has pictures and prompts of its own seed, drawn by the bench's data set for both: sent twice, they would come
from the server's caches the second time. Who begins changes from round to round. Status 1 means that they disagree.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from .agreement import ABSOLUTE_MS, RELATIVE, Comparison, compare
from .page import Page
from .process import LoadFailed, run_locust
from .tables import Table, number, percent
from .target import NoServer, Target, machine, parse, serving

OUT: Final = Path(".cache/loadtest-agree")
BENCH: Final = "vllm bench serve"
OURS: Final = "loadtest"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both, write the report, return the exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with serving(options.url, options.model, options.flags, options.out / "server.log") as server:
            comparisons = _compare(options, server, console)
            page = _page(options, server, comparisons)
    except (NoServer, LoadFailed, ValueError) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    page.write(options.out)
    console.print(f"{page.verdict} Report: {options.out / 'report.md'}", markup=False, highlight=False)
    return 0 if all(comparison.agrees for comparison in comparisons) else 1


def _compare(options: argparse.Namespace, server: Target, console: Console) -> list[Comparison]:
    """Take turns, after a run that only warms the server: it would be held against whoever came first."""
    console.print("Warming up", highlight=False)
    warm = options.out / "warm-up"
    warm.mkdir(exist_ok=True)
    _ours(options, server, warm, bench_flags(options, server, options.seed + 2 * options.runs))
    results: dict[str, list[dict[str, Any]]] = {BENCH: [], OURS: []}
    for number_ in range(options.runs):
        for tool in (BENCH, OURS) if number_ % 2 == 0 else (OURS, BENCH):
            console.print(f"Run {number_ + 1} of {options.runs}: {tool}", highlight=False)
            folder = options.out / f"run-{number_ + 1}"
            folder.mkdir(exist_ok=True)
            seed = options.seed + 2 * number_ + (tool == OURS)
            flags = bench_flags(options, server, seed)
            results[tool].append((_bench if tool == BENCH else _ours)(options, server, folder, flags))
    return compare(results[BENCH], results[OURS])


def bench_flags(options: argparse.Namespace, server: Target, seed: int) -> list[str]:
    """The bench's command line: one picture of one size and prompts and answers of one length each."""
    width, height = (int(side) for side in options.image_size.split("x"))
    values = {
        "--backend": "openai-chat",
        "--endpoint": "/v1/chat/completions",
        "--base-url": server.url,
        "--model": server.root,
        "--served-model-name": server.model,
        "--dataset-name": "random-mm",
        "--random-input-len": options.input_tokens,
        "--random-output-len": options.output_tokens,
        "--random-mm-base-items-per-request": 1,
        "--random-mm-limit-mm-per-prompt": json.dumps({"image": 1}),
        "--random-mm-bucket-config": str({(height, width, 1): 1.0}),
        "--num-prompts": options.requests,
        "--max-concurrency": options.users,
        "--seed": seed,
        "--temperature": 0,
        "--percentile-metrics": "ttft,tpot,itl,e2el",
        "--metric-percentiles": "50,90,95,99",
    }
    ratio = {} if options.keep_ratio is None else {"--extra-body": json.dumps({"keep_ratio": options.keep_ratio})}
    return [str(word) for pair in {**values, **ratio}.items() for word in pair] + ["--disable-tqdm"]


def _bench(options: argparse.Namespace, server: Target, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    _call("run", folder / "bench.json", flags)
    result: dict[str, Any] = json.loads((folder / "bench.json").read_text())
    if result["failed"]:
        raise LoadFailed(f"{result['failed']} requests of the bench failed; see {folder}")
    return result


def _ours(options: argparse.Namespace, server: Target, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Our users with the requests of the bench's data set, and like the bench one request before the clock starts."""
    _call("dump", folder / "requests.jsonl", flags)
    load = {
        "replay": folder / "requests.jsonl",
        "keep_ratios": "default" if options.keep_ratio is None else options.keep_ratio,
        "users": options.users,
        "model": server.model,
        "warmup": 1,
        "poll": 0,
    }
    return run_locust(server.url, folder / "loadtest", load)


def _call(command: str, out: Path, flags: Sequence[str]) -> None:
    log = out.with_suffix(".log")
    with log.open("wb") as output:
        status = subprocess.run(  # noqa: S603 (our own module)
            [sys.executable, "-m", "loadtest.bench", command, str(out), *flags],
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    if status:
        raise LoadFailed(f"the bench ended with status {status}; see {log}")


def _page(options: argparse.Namespace, server: Target, comparisons: Sequence[Comparison]) -> Page:
    apart = [comparison.name for comparison in comparisons if not comparison.agrees]
    bound = f"{percent(RELATIVE, 0)} % or {ABSOLUTE_MS:g} ms"
    facts = (
        ("Date", datetime.date.today().isoformat()),
        ("Device", options.device or machine()),
        ("Model", f"{server.model}, vLLM {server.version}"),
        (
            "Work",
            f"{options.requests} requests a run, {options.users} at a time, one {options.image_size} picture each",
        ),
        ("Lengths", f"{options.input_tokens} random tokens in, {options.output_tokens} out; greedy, end mark ignored"),
        ("Keep ratio", "the server's default" if options.keep_ratio is None else f"{options.keep_ratio:g}"),
    )
    verdict = f"They disagree on {', '.join(apart)}." if apart else f"They agree within {bound}."
    return Page(f"{OURS} against {BENCH}", verdict, facts, (_pooled(comparisons), _single(comparisons)), ())


def _pooled(comparisons: Sequence[Comparison]) -> Table:
    rows = [
        (
            f"{one.name}, {one.unit}",
            number(one.bench, 2),
            number(one.ours, 2),
            number(one.difference, 2),
            percent(one.difference / one.bench if one.bench else None),
            "yes" if one.agrees else "no",
        )
        for one in comparisons
    ]
    return Table("All runs", ("", BENCH, OURS, "difference", "%", "agrees"), tuple(rows))


def _single(comparisons: Sequence[Comparison]) -> Table:
    """bench / ours for every run."""
    runs = range(len(comparisons[0].runs))
    rows = [
        (f"{one.name}, {one.unit}", *(f"{number(theirs, 2)} / {number(own, 2)}" for theirs, own in one.runs))
        for one in comparisons
    ]
    return Table(f"Single runs, {BENCH} / {OURS}", ("", *(f"run {index + 1}" for index in runs)), tuple(rows))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.agree", description=__doc__.partition("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--runs", type=int, default=3, help="of each tool (default: %(default)s)")
    add("--requests", type=int, default=200, help="per run (default: %(default)s)")
    add("--users", type=int, default=4, help="requests at a time (default: %(default)s)")
    add("--keep-ratio", type=float, help="of every request (default: the server's)")
    add("--image-size", default="448x448", help="default: %(default)s")
    add("--input-tokens", type=int, default=32, help="of the prompt's text (default: %(default)s)")
    add("--output-tokens", type=int, default=32, help="of every answer (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the first run (default: %(default)s)")
    add("--out", type=Path, default=OUT, help="folder (default: %(default)s)")
    return parse(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
