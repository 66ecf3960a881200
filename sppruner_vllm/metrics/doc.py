"""Writes the table of families in docs/operate/metrics.md from the families themselves.

`python -m sppruner_vllm.metrics.doc [--check] [FILE]`. With --check nothing is written, and the status is 1 when the
table is not what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sppruner_vllm.generated_table import GeneratedTable
from sppruner_vllm.metrics.families import FAMILIES
from sppruner_vllm.metrics.kinds import Family, HistogramFamily
from sppruner_vllm.metrics.labels import Label


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


TABLE: Final = GeneratedTable(
    name="families",
    command="python -m sppruner_vllm.metrics.doc",
    source="sppruner_vllm/metrics/families.py",
    file=Path("docs/operate/metrics.md"),
    table=families_table,
)


if __name__ == "__main__":
    sys.exit(TABLE.main())
