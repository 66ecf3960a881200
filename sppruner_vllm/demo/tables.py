"""The tables that the demo prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sppruner_vllm.demo_model.picture import QUESTIONS

from .measure import Cost

RIGHT: Final = "[green]✓[/]"
WRONG: Final = "[red]✗[/]"


def table(costs: Sequence[Cost]) -> Table:
    """One row per keep ratio."""
    view = Table(title="What one picture costs", box=SIMPLE_HEAD)
    view.add_column("keep\nratio", justify="right")
    view.add_column("visual\ntokens", justify="right", no_wrap=True)
    view.add_column("prompt\ntokens", justify="right")
    view.add_column("KV-cache\ntokens", justify="right")
    view.add_column("time to\nfirst token", justify="right", no_wrap=True)
    for cost in costs:
        view.add_row(
            f"{cost.keep_ratio:g}",
            f"{cost.original} → {cost.retained}",
            str(cost.prompt_tokens),
            str(cost.kv_tokens),
            f"{cost.ttft_seconds * 1000:.0f} ms",
        )
    return view


def answers(costs: Sequence[Cost]) -> Table:
    """One row per question, one column per keep ratio."""
    view = Table(title="What it answers", box=SIMPLE_HEAD)
    view.add_column("keep ratio")
    for cost in costs:
        view.add_column(f"{cost.keep_ratio:g}", no_wrap=True)
    for index, (question, right) in enumerate(QUESTIONS):
        view.add_row(question, *(_marked(cost.answers[index], right) for cost in costs))
    return view


def notes(repeats: int) -> str:
    """What the columns mean, in the order of the table."""
    return (
        "KV-cache tokens: prompt tokens the engine computed and stored, from its metrics.\n"
        f"Time to first token: median of {repeats} streamed requests, each a full image decode, encode and prefill.\n"
        "The demo model is tiny: it knows one small world of shapes and signs, and most of its time is fixed cost."
    )


def _marked(answer: str, right: str) -> str:
    return f"{escape(answer)} {RIGHT if answer == right else WRONG}"
