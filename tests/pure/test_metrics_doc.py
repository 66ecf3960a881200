"""docs/operate/metrics.md says what the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppruner_vllm.metrics.doc import BEGIN, END, current, main
from sppruner_vllm.metrics.families import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "metrics.md"


def test_the_page_is_current() -> None:
    assert main(["--check", str(PAGE)]) == 0


def test_the_page_has_each_family_with_its_labels_and_values() -> None:
    rows = {line.split("|")[1].strip(): line for line in PAGE.read_text().splitlines() if line.startswith("| `sppr")}
    for family in FAMILIES:
        row = rows[f"`{family.scraped_name}`"]
        assert f"| {family.kind} |" in row
        for label in family.labels:
            assert all(f"`{word}`" in row for word in (label.name, *label.values))


def test_a_stale_page_fails_the_check_and_is_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "metrics.md"
    page.write_text(f"before\n{BEGIN}stale\n{END}after\n")
    assert main(["--check", str(page)]) == 1
    assert "not current" in capsys.readouterr().err
    assert main([str(page)]) == 0
    assert main(["--check", str(page)]) == 0
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")


def test_a_page_without_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="marks"):
        current("nothing here\n")
