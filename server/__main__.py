"""`python -m sppruner_server MODEL [flags]`: the server, in vLLM's process layout and with vLLM's flags.

Kept free of heavy imports: vLLM's spawned processes import this module again, and the environment must be set first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.heap import keep_heaps
from sppruner_vllm.signals import unwind_when_told

from .environment import compile_where_possible, metrics_folder, select_plugins
from .samples import spare_samples


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until told to stop; exits with a message when the set-up is one we refuse."""
    unwind_when_told()  # until vLLM installs its own handlers, so that the metrics folder goes
    keep_heaps()
    compile_where_possible()
    try:
        select_plugins()
        with metrics_folder():
            spare_samples()
            from .cli import parse, serve

            serve(parse(argv))
    except UnsupportedSetup as exc:
        sys.exit(f"sppruner-serve: {exc}")


if __name__ == "__main__":
    main()
