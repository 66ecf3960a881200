"""The command `misfit`: a table for the terminal, and misfit.md, misfit.json and misfit.png in a folder."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .accuracy_curves import BLUE, ORANGE, tidy
from .markdown import markdown_table
from .misfit import NEAREST, Fit, Misfit, measure
from .questions import DatasetError

MARKDOWN: Final = "misfit.md"
JSON: Final = "misfit.json"
PICTURE: Final = "misfit.png"
_TITLES: Final = ("neighbours", "nearest is a name, %", f"a name among {NEAREST}, %", "by chance, %", "largest cosine")


def main(options: argparse.Namespace) -> int:
    """Measure, print and write. Returns the exit status."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("looking and reading", total=None)
            found = measure(
                options.model,
                scenes=options.scenes,
                texts=options.texts,
                seed=options.seed,
                centred=options.centred,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (DatasetError, ValueError) as problem:
        console.print(str(problem), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    Console().print(_table(found))
    write(options.out, found)
    console.print(f"Report: {options.out / MARKDOWN}", highlight=False)
    return 0


def write(folder: Path, found: Misfit) -> None:
    """Write the report; the folder is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(json.dumps(asdict(found), indent=2) + "\n")
    table = markdown_table(_TITLES, map(_cells, found.fits))
    parts = (f"# {found.model}: visual tokens and words", _scope(found), table, f"![Named by layer]({PICTURE})")
    (folder / MARKDOWN).write_text("\n\n".join(parts) + "\n")
    _picture(found).savefig(folder / PICTURE, dpi=150)


def _scope(found: Misfit) -> str:
    rows = "centred rows" if found.centred else "rows as they are"
    return (
        f"{found.tokens} visual tokens that clearly show a thing, against the word embeddings and the states of "
        f"{found.words} words in descriptions of other scenes; cosine of {rows}. By chance: judged by another token's "
        f"names, its {NEAREST} neighbours unchanged."
    )


def _cells(fit: Fit) -> tuple[str, ...]:
    shares = (f"{share * 100:.1f}" for share in (fit.first, fit.named, fit.chance))
    return (fit.source, *shares, f"{fit.cosine:.2f}")


def _table(found: Misfit) -> Table:
    view = Table(title=f"Visual tokens of {found.model} and words", box=SIMPLE_HEAD, caption=_scope(found))
    for index, title in enumerate(_TITLES):
        view.add_column(title, justify="right" if index else "left")
    for fit in found.fits:
        view.add_row(*_cells(fit))
    return view


def _picture(found: Misfit) -> Figure:
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    places = range(len(found.fits))
    axes.bar(places, [fit.named * 100 for fit in found.fits], color=BLUE, width=0.6, label=f"a name among {NEAREST}")
    axes.plot(places, [fit.chance * 100 for fit in found.fits], color=ORANGE, marker="o", label="by chance")
    axes.set_xticks(list(places), [fit.source.replace(" ", "\n") for fit in found.fits])
    axes.set_ylabel("visual tokens, %")
    axes.set_ylim(0, 100)
    axes.set_title("Visual tokens whose nearest text neighbours name what they show")
    axes.legend(frameon=False)
    tidy(axes)
    return figure
