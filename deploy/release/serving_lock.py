"""Writes requirements-serve-cpu.lock: of the CPU lock, what serving needs, and so what an image carries.

Follows the requirements of vLLM and of this project through the installed packages; `--check` says if it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sppruner_release.locks import COMPLETE, SHIPPED, locked, serving_needs

ROOT: Final = Path(__file__).resolve().parents[2]
HEADER: Final = (
    f"# What serving on a CPU needs of {COMPLETE.name}. Written by deploy/release/serving_lock.py; do not edit.\n"
)


def serving_lock(root: Path) -> str:
    """The text of the serving lock, from the complete lock and the installed packages.

    A package that is required but not locked is left out: the lock's own header says which those are, and why.
    """
    needed = serving_needs(locked(root / COMPLETE))
    pins = [line for line in (root / COMPLETE).read_text().splitlines() if line.strip() and not line.startswith("#")]
    kept = {name: line for line in pins if (name := canonicalize_name(Requirement(line).name)) in needed}
    return HEADER + "".join(f"{line}\n" for _, line in sorted(kept.items()))


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python deploy/release/serving_lock.py [--check]")
    text = serving_lock(ROOT)
    if not arguments:
        (ROOT / SHIPPED).write_text(text)
    elif (ROOT / SHIPPED).read_text() != text:
        sys.exit(f"{SHIPPED.name} is not current: run python deploy/release/serving_lock.py")


if __name__ == "__main__":
    main(sys.argv[1:])
