"""docs/operate/metrics.md says what the code has."""

from __future__ import annotations

from pathlib import Path

from sppruner_vllm.metrics.doc import TABLE
from sppruner_vllm.metrics.families import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "metrics.md"


def test_the_page_is_current() -> None:
    assert TABLE.main(["--check", str(PAGE)]) == 0


def test_the_page_has_each_family_with_its_labels_and_values() -> None:
    rows = {line.split("|")[1].strip(): line for line in PAGE.read_text().splitlines() if line.startswith("| `sppr")}
    for family in FAMILIES:
        row = rows[f"`{family.scraped_name}`"]
        assert f"| {family.kind} |" in row
        for label in family.labels:
            assert all(f"`{word}`" in row for word in (label.name, *label.values))
