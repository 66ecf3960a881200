"""Several API processes as their front ends them: it waits for what they have in flight, whatever made it stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from vllm.v1.utils import APIServerProcessManager

from sppruner_vllm.front import IDLE

from ..environment import DRAIN_SECONDS, FRONT_SECONDS, NOW

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ApiServers(APIServerProcessManager):
    """Made by vLLM once its front handles signals: a first one raises SystemExit there, and `shutdown` follows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = False
        for number in SIGNALS:
            signal.signal(number, self._after(signal.getsignal(number)))
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))

    def shutdown(self, timeout: float | None = None) -> None:
        """
        Args:
            timeout: None where vLLM stops for another reason than a signal.
        """
        self._told = True
        super().shutdown(float(os.environ[DRAIN_SECONDS]) + FRONT_SECONDS if timeout is None else timeout)
        IDLE.set()

    def _after(self, upstream: Any) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            if not self._told:
                self._told = True
                upstream(number, frame)
                return
            for process in self.processes:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, NOW)

        return handle
