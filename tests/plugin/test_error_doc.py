"""docs/use/api.md says what the code answers."""

from __future__ import annotations

from pathlib import Path

from sppruner_server.errors.codes import CODES
from sppruner_server.errors.doc import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "use" / "api.md"


def test_the_page_is_current() -> None:
    assert TABLE.main(["--check", str(PAGE)]) == 0


def test_the_page_has_each_code_with_its_status() -> None:
    text = PAGE.read_text()
    for name, code in CODES.items():
        assert f"| `{name}` | {code.status} | " in text
