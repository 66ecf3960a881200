"""One command for one thing: the hooks run what `make lint` runs, and `make quick` leaves out nothing it could run."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

NEEDS_MORE = {
    "conformance",
    "engine",
    "image",
    "monitoring",
    "release",
    "reliability",
    "runner_v2",
    "server",
    "training",
    "vllm_next",
}
"""Folders that want an engine, a Prometheus, a container or minutes."""


def prerequisites(target: str) -> list[str]:
    (line,) = re.findall(rf"^{target}: ([^#\n]*)", MAKEFILE, re.MULTILINE)
    return line.split()


def test_the_hooks_run_what_make_lint_runs():
    (repository,) = HOOKS
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == [f"make {target}" for target in prerequisites("lint")]


def test_a_hook_looks_at_the_whole_project():
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in HOOKS[0]["hooks"])


def test_quick_runs_every_folder_that_needs_no_more():
    folders = {folder.name for folder in (ROOT / "tests").iterdir() if list(folder.glob("test_*.py"))}
    (quick,) = re.findall(r"^QUICK := (.+)$", MAKEFILE, re.MULTILINE)
    assert set(quick.split()) == folders - NEEDS_MORE
