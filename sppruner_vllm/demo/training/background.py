"""A training that takes hours beside other work: in the background, only in time that nobody else wants."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOG: Final = "log.txt"
_LOCK: Final = "lock"
_NICEST: Final = "19"


def start(arguments: Sequence[str], folder: Path) -> str:
    """Start `python -m sppruner_vllm.demo.training` with these arguments, for as long as the machine is up.

    Args:
        folder: of the checkpoints; gets a log.

    Returns:
        What a person needs to know: where the log is, and how to stop it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", _NICEST, sys.executable, "-m", "sppruner_vllm.demo.training", *arguments]
    with (folder / LOG).open("a") as log:
        run = subprocess.Popen(  # noqa: S603 (our own command)
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    # Where sessions share the processor by turns, a process is nice to those of its own session alone.
    group = Path(f"/proc/{run.pid}/autogroup")
    if group.is_file():
        group.write_text(_NICEST)
    return f"Log: {folder / LOG}\nStop with a checkpoint: kill {run.pid}"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder of checkpoints.

    Raises:
        SystemExit: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another process trains in {folder}") from None
        yield
