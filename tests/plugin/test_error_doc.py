"""docs/use/api.md says what the code answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from sppruner_server.errors.codes import CODES
from sppruner_server.errors.doc import BEGIN, END, current, main

PAGE = Path(__file__).parents[2] / "docs" / "use" / "api.md"


def test_the_page_is_current() -> None:
    assert main(["--check", str(PAGE)]) == 0


def test_the_page_has_each_code_with_its_status() -> None:
    text = PAGE.read_text()
    for name, code in CODES.items():
        assert f"| `{name}` | {code.status} | " in text


def test_a_stale_page_fails_the_check_and_is_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "api.md"
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
