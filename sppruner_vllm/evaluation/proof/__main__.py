"""`python -m sppruner_vllm.evaluation.proof`, `make prove`, `docker run IMAGE prove`: the standard sets, and a report.

Makes the harness's environment, then goes on in it. Nothing but the standard library here: the Python that serves may
have none of what a report takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from sppruner_vllm.signals import hold, unwind_when_told

from .environment import NoEnvironment, python_of

BASE: Final = "SPPRUNER_PROOF_BASE"
"""Variable that hands the Python that serves over to the next process."""


def main() -> int:
    """Never returns when all is well: this process becomes the run."""
    unwind_when_told()
    folder = Path(os.environ.get("SPPRUNER_PROOF_ENV") or _cache() / "prove" / "env")
    if {"-h", "--help"} & set(sys.argv[1:]):  # needs no environment
        from .options import parser

        parser().print_help()
        return 0
    try:
        python = python_of(folder)
    except NoEnvironment as problem:
        print(problem, file=sys.stderr)
        return 1
    os.environ[BASE] = sys.executable
    arguments = [str(python), "-m", "sppruner_vllm.evaluation.proof.run", *sys.argv[1:]]
    hold()
    os.execv(python, arguments)  # noqa: S606 (our own command)


def _cache() -> Path:
    """As `demo.places` has it, which needs more packages than there may be."""
    checkout = Path(__file__).resolve().parents[3]
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / ".cache"


if __name__ == "__main__":
    sys.exit(main())
