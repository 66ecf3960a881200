"""A table of a page is written between its marks, and nothing else of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from sppruner_vllm.generated_table import GeneratedTable

TABLE = GeneratedTable("things", "python -m things", "things.py", Path("things.md"), lambda: "| thing |\n")
MARKS = "<!-- things: written by `python -m things` from things.py -->\n", "<!-- end of things -->\n"


def test_a_stale_page_fails_the_check_and_is_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("stale\n".join(("before\n" + MARKS[0], MARKS[1] + "after\n")))
    assert TABLE.main(["--check", str(page)]) == 1
    assert "not current: run `python -m things`" in capsys.readouterr().err
    assert TABLE.main([str(page)]) == 0
    assert TABLE.main(["--check", str(page)]) == 0
    assert page.read_text() == f"before\n{MARKS[0]}| thing |\n{MARKS[1]}after\n"


@pytest.mark.parametrize("page", ["nothing here\n", f"only the first\n{MARKS[0]}", f"only the second\n{MARKS[1]}"])
def test_a_page_without_both_marks_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        TABLE.current(page)
