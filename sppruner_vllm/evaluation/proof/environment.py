"""The harness's own environment: pinned packages over those of the Python that serves, which never sees them.

Nothing but the standard library: it runs before there is anything else. Where that Python has no pip, the environment
gets one of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).with_name("requirements.lock")
STAMP: Final = "sppruner-proof.sha256"


class NoEnvironment(RuntimeError):
    """The packages could not be installed; pip has said why."""


def python_of(folder: Path) -> Path:
    """The Python of the environment in `folder`, made there unless it is and is current.

    Raises:
        NoEnvironment: there is no way to install packages, or pip failed.
    """
    python = folder / "bin" / "python"
    expected = _fingerprint()
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == expected and python.exists():
        return python
    print(f"Making {folder}: lmms-eval and what it needs, some 500 MB", file=sys.stderr, flush=True)
    ours = importlib.util.find_spec("pip") is not None
    if not ours and importlib.util.find_spec("ensurepip") is None:
        raise NoEnvironment(
            "This Python has neither pip nor ensurepip. On Debian and Ubuntu: apt-get install python3-venv"
        )
    venv.create(folder, clear=True, with_pip=not ours)
    command = [sys.executable, "-m", "pip", "--python", str(python)] if ours else [str(python), "-m", "pip"]
    install = [*command, "--disable-pip-version-check", "install", "--quiet", "--no-deps", "-r", str(LOCK)]
    if subprocess.run(install, check=False).returncode != 0:  # noqa: S603 (our own arguments)
        raise NoEnvironment(f"Could not install {LOCK.name}: see pip's message above.")
    (site,) = folder.glob("lib/python*/site-packages")
    # Behind pip's run, which would otherwise take packages of the base for its own.
    lines = [f"import site; site.addsitedir({base!r})" for base in _bases()]
    (site / "sppruner_base.pth").write_text("\n".join(lines) + "\n")
    stamp.write_text(expected)
    return python


def _bases() -> list[str]:
    """Where this Python finds installed packages, ours among them."""
    installed = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    ours = str(Path(__file__).resolve().parents[3])
    return [os.fspath(path) for path in dict.fromkeys([*installed, ours])]


def _fingerprint() -> str:
    facts = [LOCK.read_text(), Path(__file__).read_text(), sys.version, *_bases()]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()
