"""The newest vLLM that we support, in short: contracts, an engine against transformers, a server over HTTP.

There is no CPU build of it, so deploy/vllm_next_env.py makes an environment from its Python files: a download of some
340 MB, once. `make test-vllm` runs all tests that touch vLLM there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = (
    "tests/vllm_next/since_0_33.py",
    "tests/plugin/test_answers.py",
    "tests/plugin/test_cli.py",
    "tests/plugin/test_compat.py",
    "tests/plugin/test_rendering.py",
    "tests/plugin/test_hooks.py",
    "tests/plugin/test_routes.py",
    "tests/server/test_http_accounting.py",
    "tests/engine/test_reference.py",
)


@pytest.fixture(scope="session")
def newer_python() -> Path:
    """The Python of the newer environment; making it wants the package index."""
    command = [sys.executable, str(ROOT / "deploy" / "vllm_next_env.py")]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@dataclass(frozen=True, slots=True)
class Trial:
    """The newer release's own pytest, and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path


@pytest.fixture(scope="session")
def trial(newer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """In processes of its own, without what earlier tests have left in the environment for the older one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "SPPRUNER_"))}
    command = [str(newer_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    log = tmp_path_factory.mktemp("newer") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=ours, stdout=output, stderr=output)
    try:
        yield Trial(process, log)
    finally:
        process.terminate()  # where nobody has waited for its end; it stops its server then
        process.wait()


def test_the_newest_supported_release_is_tried(trial: Trial) -> None:
    """Comes before the training, beside which it is tried: see conftest.py."""
    assert trial.process.poll() in (None, 0), trial.log.read_text(errors="replace")[-8000:]


@pytest.mark.timeout(1800)
def test_the_newest_supported_release_passes(trial: Trial) -> None:
    status = trial.process.wait()
    assert status == 0, trial.log.read_text(errors="replace")[-8000:]
