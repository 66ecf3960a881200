"""`make fuzz`: thousands of spoilt requests against a server of its own, or against one that runs (URL).

They are drawn by chance; `--matrix` sends every field with every bad value instead. Prints how the answers fell and
every fault; exits with status 1 when there is one. `--only N` sends one case again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from fuzzing.bodies import Good, good
from fuzzing.cases import Case, make_case
from fuzzing.fields import known_fields
from fuzzing.matrix import every_case
from fuzzing.run import Fuzzer
from fuzzing.whole import whole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from serving import MODEL_NAME, serving
from sppruner_vllm.demo.tiny_model import build_tiny_model

FLAGS = (
    *("--max-model-len", "1024", "--explain", "--override-generation-config", '{"max_new_tokens": 16}'),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)
"""A body that loses its max_tokens asks for as much as there is room for: here that is little."""

SHOWN = 5
"""Numbers of cases of one kind of fault."""


def chosen(args: argparse.Namespace, requests: list[Good], model: str) -> list[Case]:
    """The cases that the arguments ask for. Args: requests: good ones to begin with."""
    if args.matrix:
        every = enumerate(every_case(whole(model)))
        return [case for number, case in every if args.only in (None, number) and number % args.every == 0]
    fields = known_fields()
    numbers = range(args.first, args.first + args.cases) if args.only is None else [args.only]
    return [make_case(args.seed, number, requests, fields) for number in numbers]


@contextmanager
def some_server(url: str | None, log: Path) -> Iterator[str]:
    """The address of the server that was named, or of one of our own."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        model = build_tiny_model(Path(folder) / "tiny")
        print(f"starting a server; its log: {log}", flush=True)
        with serving(model, log, *FLAGS) as running:
            yield running.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--matrix", action="store_true", help="every field with every bad value, some 50,000 requests")
    parser.add_argument("--every", type=int, default=1, help="of the matrix in turn one of so many")
    parser.add_argument("--only", type=int, help="send this case alone and print its answer")
    parser.add_argument("--url", help="a server that runs already, without a path; its key in OPENAI_API_KEY")
    parser.add_argument("--log", type=Path, default=Path(".cache/fuzz-server.log"))
    args = parser.parse_args()
    args.log.parent.mkdir(parents=True, exist_ok=True)
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with some_server(args.url, args.log) as url:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            model = client.get("/v1/models").json()["data"][0]["id"] if args.url else MODEL_NAME
        requests = good(model)
        cases = chosen(args, requests, model)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn()) as progress:
            task = progress.add_task("spoilt requests", total=len(cases))
            findings = Fuzzer(url, requests, headers).run(cases, lambda: progress.advance(task))
        if args.only is not None:
            print(cases[0].told())
    print("answers by status:", dict(sorted(findings.statuses.items())))
    for kind, faults in sorted(findings.by_kind().items(), key=lambda found: -len(found[1])):
        print(f"{len(faults)} x {kind}: cases {', '.join(str(fault.number) for fault in faults[:SHOWN])}")
        print("   ", faults[0].told)
    if findings.faults:
        sys.exit(f"{len(findings.faults)} faults; send one again with --only N --seed {args.seed}")


if __name__ == "__main__":
    main()
