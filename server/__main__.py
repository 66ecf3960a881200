"""`python -m sppruner_server MODEL [flags]`: the server, in vLLM's process layout and with vLLM's flags.

Kept free of heavy imports: vLLM's spawned processes import this module again, and the environment must be set first.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.heap import share_heaps

from .environment import compile_where_possible, metrics_folder, select_plugins


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop; exits with a message when the set-up is one we refuse."""
    unwind_when_told()
    share_heaps()
    compile_where_possible()
    try:
        select_plugins()
        with metrics_folder():
            from .cli import parse, serve

            serve(parse(argv))
    except UnsupportedSetup as exc:
        sys.exit(f"sppruner-serve: {exc}")


def unwind_when_told() -> None:
    """Until vLLM installs its own handlers, a signal must still unwind, so that the metrics folder goes.

    Those that came before anybody listened are taken now: the images start us with both blocked. A container's first
    process would lose them, the kernel drops what that one has no handler for.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGHUP))


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
