"""The project as a whole: import directions. What its packages hold: tests/release/test_release.py."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_go_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def writes_the_environment(source: str) -> bool:
    """Whether importing a module changes the environment of its process."""
    at_import = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr)]
    return any(
        re.search(r"\benviron(\[.*\] = |\.(setdefault|update|pop)\(| \|= )|putenv\(", ast.unparse(node))
        for node in at_import
    )


def test_only_the_outermost_conftest_writes_the_environment_that_all_tests_share() -> None:
    """A test that imports a program's functions would take the program's environment along, for all that follow."""
    tests = ROOT / "tests"
    found = [path.relative_to(tests) for path in tests.rglob("*.py") if writes_the_environment(path.read_text())]
    assert found == [Path("conftest.py")]


def test_no_two_test_modules_share_a_name() -> None:
    """Pytest imports them by it, and stops at the second one when all are collected."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name, times in Counter(names).items() if times > 1] == []
