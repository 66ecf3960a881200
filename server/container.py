"""`python -m sppruner_server.container [flags]`: the entry point of our images; `prove [flags]` runs the proof kit.

The server, on every interface. Without a model in its flags it serves the bundled demo model, so that a first
`docker run` needs no download.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sppruner_vllm.compat.processes import QUEUE_CHUNK
from sppruner_vllm.demo_model.flags import DEMO_ENVIRONMENT, KV_SPACE, demo_arguments
from sppruner_vllm.signals import unwind_when_told

from .__main__ import main as serve
from .environment import can_compile

PROVE: Final = "prove"
PROOF_KIT: Final = "sppruner_vllm.evaluation.proof"
"""Run by name: what serves imports no evaluation."""

DEFAULTS: Final = ("--host", "0.0.0.0", "--port", "8000")  # noqa: S104
MODEL_KV_SPACE: Final = "4"

FULL_CHUNK: Final = 24
"""MiB of a chunk of vLLM's largest queues; a queue has ten."""

QUEUES_SHARE: Final = 30
"""Chunks that must fit: the executor's queue and a worker's, and room for what else is kept there."""


def command_line(given: Sequence[str]) -> list[str]:
    """The server's arguments: the image's defaults, then what was given, which wins."""
    if names_a_model(given):
        return [*DEFAULTS, *([] if can_compile() else ["--enforce-eager"]), *given]
    return [*DEFAULTS, *demo_arguments(), *given]


def names_a_model(given: Sequence[str]) -> bool:
    """Whether the arguments say what to serve: `--model`, a file of settings, or a first argument that is no flag."""
    if given and not given[0].startswith("-"):
        return True
    return any(argument.partition("=")[0] in {"--model", "--config"} for argument in given)


def environment(given: Sequence[str], shared_memory: int) -> dict[str, str]:
    """Variables to set where the operator did not.

    Args:
        given: the arguments.
        shared_memory: free bytes of /dev/shm, of which container tools give 64 MiB unless told otherwise.
    """
    chosen = {KV_SPACE: MODEL_KV_SPACE} if names_a_model(given) else dict(DEMO_ENVIRONMENT)
    if (chunk := shared_memory // QUEUES_SHARE // 2**20) < FULL_CHUNK:
        chosen[QUEUE_CHUNK] = str(max(1, chunk))
    return chosen


def main() -> None:
    given = sys.argv[1:]
    if given[:1] != [PROVE]:  # which holds signals until it listens itself
        unwind_when_told()
    for name, value in environment(given, shutil.disk_usage("/dev/shm").free).items():  # noqa: S108
        os.environ.setdefault(name, value)
    if folder := os.environ.get("TMPDIR"):  # a volume mounted over its parent begins empty
        Path(folder).mkdir(parents=True, exist_ok=True)
    if given[:1] == [PROVE]:
        os.execv(sys.executable, [sys.executable, "-m", PROOF_KIT, *given[1:]])  # noqa: S606 (our own command)
    serve(command_line(given))


if __name__ == "__main__":
    main()
