"""The run itself, in the harness's environment: server, lmms-eval once per condition, report."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from rich.console import Console
from rich.status import Status

from sppruner_vllm.demo import places
from sppruner_vllm.demo.server_process import ServerFailed, free_port, running_server, server_command, server_url
from sppruner_vllm.demo_model import CHECKPOINT
from sppruner_vllm.demo_model.flags import DEMO_ENVIRONMENT, DEMO_NAME, KV_SPACE, demo_arguments
from sppruner_vllm.evaluation.bootstrap import FEWEST_RESAMPLES
from sppruner_vllm.evaluation.conditions import FULL, Condition, conditions
from sppruner_vllm.evaluation.harness.client import HarnessClient, HarnessFailed
from sppruner_vllm.evaluation.model_stamp import model_stamp
from sppruner_vllm.evaluation.questions import DatasetError
from sppruner_vllm.evaluation.records import run_key
from sppruner_vllm.planning.plan import ALGORITHM_VERSION
from sppruner_vllm.settings import Settings
from sppruner_vllm.signals import unwind_when_told

from .__main__ import BASE
from .figures import NothingCompared, figures
from .folder import Folder, Plan
from .harness_run import HarnessRun
from .local_sets import override, write_demo_sets
from .options import OPPONENTS, parser
from .outcomes import Incomplete, read_outcomes
from .report import write_report
from .sets import StandardSet, named
from .tied import tied

DEMO_LIMIT: Final = 25
DEMO_SEED: Final = 2027
PROOF: Final = places.CACHE / "prove"


def main() -> int:
    """Run. Exit status: 1 when it could not be done, 130 or 143 when it was stopped."""
    unwind_when_told()
    found = parser()
    options, extra = found.parse_known_args()
    console = Console(stderr=True)
    try:
        sets = named(options.sets)
    except ValueError as problem:
        found.error(str(problem))
    if options.resamples < FEWEST_RESAMPLES:
        found.error(f"--resamples must be at least {FEWEST_RESAMPLES}")
    if extra and options.url is not None:
        found.error(f"unrecognized arguments: {' '.join(extra)}")
    out = options.out or PROOF / re.sub(r"[^\w.-]+", "--", options.model or "demo")
    folder = Folder(out.resolve())
    if "," in str(folder.root):
        found.error(f"{folder.root}: lmms-eval takes no folder with a comma in its name")
    try:
        if not options.report_only:
            _ask(options, extra, sets, folder, console)
        return _report(folder, options.resamples, console)
    except (Incomplete, HarnessFailed, ServerFailed, NothingCompared, DatasetError, FileNotFoundError) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"Stopped. What was answered is in {folder.root}; the same command goes on from there.")
        return 130


def _ask(
    options: argparse.Namespace, extra: Sequence[str], sets: Sequence[StandardSet], folder: Folder, console: Console
) -> None:
    """Ask whatever has no outcome yet."""
    wanted = conditions(options.methods, options.ratios)
    demo = options.model is None and options.url is None
    local, limit = options.local, options.limit
    if demo and local is None:
        local, limit = PROOF / "demo-sets", limit or DEMO_LIMIT
        with console.status("drawing the demo's sets"):
            write_demo_sets(sets, local, DEMO_LIMIT, DEMO_SEED)
    tasks = {one.task: one.task if local is None else override(one, local, folder.tasks) for one in sets}
    stamp = model_stamp(str(CHECKPOINT) if demo else options.model or "")
    key = run_key(options.model or DEMO_NAME, stamp, ALGORITHM_VERSION, str(local), limit, version("lmms_eval"))
    missing = {
        condition: [one for one in sets if read_outcomes(folder.outcomes(condition, one), key) is None]
        for condition in wanted
    }
    folder.write_plan(_plan(options, sets, limit, key))
    if not any(missing.values()):
        return
    with _server(options, extra, wanted, folder, console) as url:
        client = HarnessClient(url, options.model if options.url is not None else None, {}, api_key=options.api_key)
        run = HarnessRun(
            folder,
            url,
            client.model,
            key,
            tasks,
            limit=limit,
            concurrency=options.concurrency,
            seconds=options.timeout,
            api_key=options.api_key,
        )
        for condition in wanted:
            if not missing[condition]:
                continue
            said = f"{condition}: {', '.join(one.name for one in missing[condition])}"
            with console.status(said) as status:
                run.ask(condition, missing[condition], partial(_tell, status, said))
            console.print(said, highlight=False)


def _tell(status: Status, said: str, answers: int) -> None:
    status.update(f"{said}: {answers} answers")


@contextmanager
def _server(
    options: argparse.Namespace, extra: Sequence[str], wanted: Sequence[Condition], folder: Folder, console: Console
) -> Iterator[str]:
    """The address of the server that was named, or of one of our own, run by the Python that serves."""
    if options.url is not None:
        yield options.url
        return
    demo = options.model is None
    lowest = min([*(condition.ratio for condition in wanted), Settings.model_fields["min_keep_ratio"].default])
    arguments = [*(demo_arguments() if demo else ["--model", options.model]), *extra]
    arguments += ["--allow-reduction-method", "--min-keep-ratio", str(lowest)]
    environment: Mapping[str, str] = DEMO_ENVIRONMENT if demo else {KV_SPACE: os.environ.get(KV_SPACE, "4")}
    port = free_port()
    command = tied([os.environ.get(BASE, sys.executable), *server_command(arguments, port)[1:]])
    status = console.status(f"starting a server; its log is {folder.server_log}")
    status.start()
    try:
        with running_server(command, server_url(port), environment, log=folder.server_log) as server:
            status.stop()
            yield server.url
    finally:
        status.stop()


def _plan(options: argparse.Namespace, sets: Sequence[StandardSet], limit: int | None, key: str) -> Plan:
    facts = {
        "run": key,
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "sets from": "the hub" if options.local is None and options.model else str(options.local or "the demo's world"),
        "lmms-eval": version("lmms_eval"),
        "sppruner-vllm": version("sppruner-vllm"),
        "algorithm": str(ALGORITHM_VERSION),
        "decoding": "greedy",
    }
    names = tuple(one.name for one in sets)
    return Plan(options.model or DEMO_NAME, names, tuple(options.methods), tuple(options.ratios), limit, facts)


def _report(folder: Folder, resamples: int, console: Console) -> int:
    plan = folder.read_plan()
    if plan is None:
        console.print(f"There is no run in {folder.root}.", style="red", markup=False)
        return 1
    wanted = conditions(plan.methods, plan.ratios)
    told = {}
    for standard in named(plan.sets):
        kept = {one: read_outcomes(folder.outcomes(one, standard), plan.facts["run"]) for one in wanted}
        whole = {condition: outcomes for condition, outcomes in kept.items() if outcomes is not None}
        if len(whole) == len(kept):
            told[standard] = whole
    found = figures(told, wanted, [one for one in OPPONENTS if one in plan.methods], resamples)
    console.print(f"Report: {write_report(folder.root, plan, found)}", highlight=False)
    for condition in wanted:
        if condition != FULL and (value := found.mean[condition].value) is not None:
            console.print(f"  {condition}: {100 * value:.1f} % of the full picture's score", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
