"""Makes `.cache/runner-v2`, where vLLM's model runner V2 runs on a CPU: .venv, with Triton and a backend for it on top.

An environment of its own, because runner V1 fails beside that backend and because Triton takes 1 GB. Run with .venv's
Python. A second run finds a stamp and does nothing.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Final

from setup_env import ROOT, fingerprint, is_current, one_at_a_time, pip, say

ENVIRONMENT: Final = ROOT / ".cache" / "runner-v2"
LOCK: Final = ROOT / "deploy" / "requirements-runner-v2.lock"
BACKEND: Final = ROOT / "tests" / "runner_v2" / "triton_interpreted"
INPUTS: Final = (LOCK, Path(__file__), *sorted(BACKEND.glob("*.py")), BACKEND / "pyproject.toml")


def layer_over(base: Path) -> None:
    """A new environment that also has what `base`, the site-packages of another, has.

    As a site folder rather than a plain path, so that the `.pth` files in it are run: the torchvision fix and this
    project's editable install.
    """
    venv.create(ENVIRONMENT, clear=True, with_pip=False)
    (site,) = ENVIRONMENT.glob("lib/python*/site-packages")
    (site / "base.pth").write_text(f"import site; site.addsitedir({str(base)!r})\n")


def install(*what: str) -> None:
    """Install into it with .venv's pip; its output goes to the user."""
    if not pip("--python", str(ENVIRONMENT / "bin" / "python"), "install", "--no-deps", *what):
        sys.exit("Could not install what runner V2 needs: see pip's message above.")


def install_backend() -> None:
    """From a copy, because a build leaves folders where the sources are."""
    with tempfile.TemporaryDirectory() as folder:
        sources = shutil.copytree(BACKEND, Path(folder) / BACKEND.name, ignore=shutil.ignore_patterns("__pycache__"))
        install("--quiet", "--no-build-isolation", str(sources))


def main() -> None:
    base = Path(sysconfig.get_path("purelib"))
    expected = fingerprint(INPUTS, sys.version, str(base))
    stamp = ENVIRONMENT / "sppruner-setup.sha256"
    with one_at_a_time():
        if is_current(stamp, expected):
            return
        say(f"making {ENVIRONMENT.relative_to(ROOT)} (Triton is a download of 0.3 GB)")
        layer_over(base)
        install("-r", str(LOCK))
        install_backend()
        stamp.write_text(expected)


if __name__ == "__main__":
    main()
