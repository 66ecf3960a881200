"""Writes the table of families in docs/operate/metrics.md from the families themselves.

`python -m sppruner_vllm.metrics.doc [--check] [FILE]`. With --check nothing is written, and the status is 1 when the
table is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sppruner_vllm.metrics.families import FAMILIES, Family, HistogramFamily, Label

COMMAND: Final = "python -m sppruner_vllm.metrics.doc"
DEFAULT_FILE: Final = Path("docs/operate/metrics.md")
BEGIN: Final = f"<!-- families: written by `{COMMAND}` from sppruner_vllm/metrics/families.py -->\n"
END: Final = "<!-- end of families -->\n"


def families_table() -> str:
    """What stands between the two marks: a row for each family, then the buckets of the histograms."""
    rows = ["| family | type | labels | what it is |", "|---|---|---|---|", *map(_row, FAMILIES)]
    buckets = [f"- `{family.name}`: {_bounds(family)}" for family in FAMILIES if isinstance(family, HistogramFamily)]
    return "\n".join([*rows, "", "Upper bounds of the buckets, besides +Inf:", "", *buckets, ""])


def _row(family: Family) -> str:
    text = f"{family.help} {family.note}".strip()
    return f"| `{family.scraped_name}` | {family.kind} | {'; '.join(map(_label, family.labels))} | {text} |"


def _label(label: Label) -> str:
    values = ", ".join(f"`{value}`" for value in label.values) or label.meaning
    return f"`{label.name}`: {values}"


def _bounds(family: HistogramFamily) -> str:
    return ", ".join(f"{bound:g}" for bound in family.buckets)


def current(page: str) -> str:
    """The page with its table as it should be.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the marks of the table are not there")
    return before + begin + families_table() + end + after


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table or check it; the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the families into docs/operate/metrics.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")
    parser.add_argument("file", nargs="?", type=Path, default=DEFAULT_FILE, help=f"default: {DEFAULT_FILE}")
    options = parser.parse_args(argv)
    page = options.file.read_text(encoding="utf-8")
    if options.check:
        if page == current(page):
            return 0
        print(f"{options.file} is not current: run `{COMMAND}`", file=sys.stderr)
        return 1
    options.file.write_text(current(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
