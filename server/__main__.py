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
    # Until vLLM installs its own handlers, a SIGTERM must still unwind, so that the metrics folder goes.
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _stop)
    share_heaps()
    compile_where_possible()
    try:
        select_plugins()
        with metrics_folder():
            from .cli import parse, serve

            serve(parse(argv))
    except UnsupportedSetup as exc:
        sys.exit(f"sppruner-serve: {exc}")


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
