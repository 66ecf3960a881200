"""What is deployed is clean by the linters of its kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sppruner_release.packages import sources

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


def is_shell(file: Path) -> bool:
    with (ROOT / file).open("rb") as opened:
        return opened.readline().rstrip() in {b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash"}


def lint(program: str, *arguments: str | Path) -> None:
    done = subprocess.run([PROGRAMS / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile():
    lint("hadolint", "--failure-threshold", "info", ROOT / "Dockerfile")


def test_shell_scripts():
    scripts = [file for file in sources(ROOT) if is_shell(file)]
    assert {"run", "image_test.sh"} <= {file.name for file in scripts}
    lint("shellcheck", "--enable=all", "--exclude=SC2250,SC2312", *scripts)


def test_yaml():
    files = [file for file in sources(ROOT) if file.suffix in {".yaml", ".yml"}]
    assert len(files) >= 8
    lint("yamllint", "--strict", *files)


def test_compose():
    lint("compose-lint", "check", "--fail-on", "medium", ROOT / "deploy" / "compose.yaml")


@pytest.mark.parametrize(
    ("program", "name", "text"),
    [
        ("hadolint", "Dockerfile", "FROM debian\nRUN cd /tmp && sudo ls\n"),
        ("shellcheck", "x.sh", "#!/bin/sh\necho $1\n"),
        ("yamllint", "x.yaml", "a: 1\na: 2\n"),
    ],
)
def test_they_would_say_so(tmp_path, program, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(AssertionError):
        lint(program, tmp_path / name)
