"""Takes back what a refused request entered into vLLM's sender cache, so that its images can be sent again.

The shim and its reason are in sppruner_vllm/compat.py; here each withdrawal finds the record of its request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sppruner_vllm.compat import watch_sender_cache

from .record import current_record


def install_withdrawal(renderer: Any) -> None:
    """Let the current record withdraw what vLLM's renderer (BaseRenderer) enters into its cache from now on."""
    watch_sender_cache(renderer, _keep)


def _keep(withdraw: Callable[[], None]) -> None:
    if (record := current_record()) is not None:
        record.withdrawals.append(withdraw)
