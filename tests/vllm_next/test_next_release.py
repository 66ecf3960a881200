"""The newest vLLM that we support, in short: contracts, an engine against transformers, a server over HTTP.

There is no CPU build of it, so deploy/vllm_next_env.py makes an environment from its Python files: a download of some
340 MB, once. `make test-vllm` runs all tests that touch vLLM there.
"""

from __future__ import annotations

import os
import subprocess
import sys
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


@pytest.mark.timeout(1800)
def test_the_newest_supported_release_passes(newer_python: Path) -> None:
    """In processes of its own, without what earlier tests have left in the environment for the older one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "SPPRUNER_"))}
    command = [str(newer_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    run = subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
