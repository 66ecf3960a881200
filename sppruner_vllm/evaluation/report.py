"""Writes what a run found: Markdown for people, JSON for programs, PNG plots for both."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from .markdown import markdown
from .records import Header, Kept
from .summary import Summary, summarise

ANSWERS: Final = "answers.jsonl"
MARKDOWN: Final = "report.md"
JSON: Final = "report.json"


def write_report(folder: Path, header: Header, kept: Kept, opponent: str, resamples: int) -> Summary:
    """Write report.md, report.json and the plots into `folder`.

    Args:
        folder: exists already.
        header, kept: the run and its answers.
        opponent: method to win, tie or lose against.
        resamples: of the bootstrap.

    Raises:
        NothingToReport: there is no question with all its answers.
    """
    from .plots import write_plots  # late: matplotlib takes a second to load

    summary = summarise(header, kept, opponent, resamples)
    plots = write_plots(summary, folder)
    (folder / MARKDOWN).write_text(markdown(header, summary, [plot.name for plot in plots]))
    facts = {name: value for name, value in asdict(header).items() if name != "questions"}
    (folder / JSON).write_text(json.dumps({"run": facts, **asdict(summary)}, indent=2) + "\n")
    return summary
