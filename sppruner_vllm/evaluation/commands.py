"""The commands `run` and `report`: questions in, answers kept, report out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .asking import Asker, Manner
from .backends import backend
from .conditions import Condition, conditions
from .dataset import load_dataset
from .questions import Question
from .records import Header, Store
from .report import ANSWERS, MARKDOWN, write_report
from .runner import Run
from .summary import NothingToReport


def run(options: argparse.Namespace, extra: Sequence[str]) -> int:
    """Ask what has no answer yet, then write the report. Returns the exit status.

    Raises:
        AskingFailed: the model cannot be asked so.
        DatasetError: there are no such questions.
    """
    console = Console(stderr=True)
    manner = Manner(options.max_tokens, options.instruction, options.focus_query, options.focus_scope, options.seed)
    wanted = conditions(options.methods, options.ratios)
    try:
        questions = load_dataset(options.dataset, options.limit, options.seed, options.families)
        store = Store(options.out / ANSWERS)
        with backend(options, extra, manner, min(condition.ratio for condition in wanted), console) as asker:
            every = Run(asker, manner, options.dataset, questions, store)
            header = _ask(every, asker, questions[0], wanted, console)
    except KeyboardInterrupt:
        console.print(f"Stopped. What was answered is in {options.out}; the same command goes on from there.")
        return 130
    return _write(options, header, store, console)


def report(options: argparse.Namespace) -> int:
    """Write the report of the last run in the folder. Returns the exit status."""
    console = Console(stderr=True)
    store = Store(options.out / ANSWERS)
    header = store.last_header()
    if header is None:
        console.print(f"There is no run in {options.out}.", style="red", markup=False)
        return 1
    return _write(options, header, store, console)


def _ask(every: Run, asker: Asker, first: Question, wanted: Sequence[Condition], console: Console) -> Header:
    usable = asker.usable(first, wanted)
    if usable.note:
        console.print(usable.note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    missing = sum(len(names) for names in every.missing(usable.conditions).values())
    total = len(usable.conditions) * len(every)
    columns = (
        TextColumn("{task.description}", justify="left"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("asking", total=total, completed=total - missing)
        return every.ask_missing(
            usable.conditions,
            lambda condition, count: bar.update(task, advance=count, description=f"asked {condition}"),
        )


def _write(options: argparse.Namespace, header: Header, store: Store, console: Console) -> int:
    try:
        summary = write_report(options.out, header, store.kept(header.key), options.against, options.resamples)
    except NothingToReport as problem:
        console.print(f"{str(problem).capitalize()}.", style="red", markup=False)
        return 1
    from .terminal import table

    Console().print(table(summary))
    console.print(f"Report: {options.out / MARKDOWN}", highlight=False)
    return 0
