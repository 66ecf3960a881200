"""The environment of runner V2: .venv, with Triton and its backend on top and nothing else."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from runners import LAYERED, ROOT, Runner, make_layered_environment

LOCK = (ROOT / "deploy" / "requirements-runner-v2.lock").read_text()


@pytest.fixture(scope="module")
def layered(second_runner: Runner) -> Path:
    """Its site-packages."""
    (site,) = LAYERED.parent.parent.glob("lib/python*/site-packages")
    return site


def test_it_adds_triton_and_the_backend_alone(layered: Path) -> None:
    packages = {entry.name.partition("-")[0] for entry in layered.glob("*.dist-info")}
    assert packages == {"triton", "triton_interpreted"}


def test_its_lock_pins_one_version_exactly() -> None:
    assert re.fullmatch(r"(#.*\n)+triton==[0-9.]+\n", LOCK)


def test_the_usual_environment_has_no_triton() -> None:
    assert importlib.util.find_spec("triton") is None


def test_triton_finds_the_backend_in_it(second_runner: Runner) -> None:
    code = "from triton.backends import backends; print(backends['cpu'].driver.__module__)"
    run = subprocess.run([second_runner.python, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "triton_interpreted.driver"


def test_it_imports_the_project_from_where_the_usual_environment_does(second_runner: Runner) -> None:
    code = "import sppruner_vllm; print(sppruner_vllm.__file__)"
    found = {
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
        for python in (sys.executable, second_runner.python)
    }
    assert len(found) == 1


def test_making_it_again_changes_nothing(layered: Path) -> None:
    made = layered.stat().st_mtime_ns
    make_layered_environment()
    assert layered.stat().st_mtime_ns == made
