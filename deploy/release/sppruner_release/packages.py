"""Builds wheel and sdist from a clean copy of the checkout, the wheel out of the sdist.

A copy, because setuptools leaves `build/` and `*.egg-info` behind, and would take up what an earlier build left. Out of
the sdist, so that one which lacks a file cannot be released.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


class NotBuilt(RuntimeError):
    """A tool failed; the message is its own."""


@dataclass(frozen=True, slots=True)
class Packages:
    """The two files."""

    wheel: Path
    sdist: Path


def sources(root: Path) -> list[Path]:
    """Paths below `root` of the files that git tracks or would track."""
    listed = _run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], root)
    return [path for name in sorted(listed.split("\0")) if name and (root / (path := Path(name))).is_file()]


def changes(root: Path) -> list[str]:
    """Files of the checkout that differ from its commit, or that it does not know."""
    return _run(["git", "status", "--porcelain"], root).splitlines()


def commit_time(root: Path) -> int:
    """When the checked-out commit was made, in seconds since the epoch."""
    return int(_run(["git", "log", "-1", "--format=%ct"], root))


def build(root: Path, out: Path, epoch: int) -> Packages:
    """Build both into the folder `out`.

    Args:
        epoch: seconds since 1970 that files in the wheel are dated, so that a commit always gives the same wheel.

    Raises:
        NotBuilt: with what the build said.
    """
    with tempfile.TemporaryDirectory(prefix="sppruner-release-") as folder:
        copy = Path(folder)
        for path in sources(root):
            (copy / path.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, copy / path)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out.resolve()), "."]
        _run(command, copy, SOURCE_DATE_EPOCH=str(epoch))
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Packages(wheel, sdist)


def _run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603 (our own arguments)
        command, cwd=folder, env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise NotBuilt(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
