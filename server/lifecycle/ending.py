"""How an API process ends: when its requests are done after a signal, at once after a second one or without its engine.

vLLM (0.32 and 0.33, entrypoints/launchers/launcher.py) shuts renderer and engine down first and listens on: what comes
then ends in a 500, and what the engine gives up in a 200 with cut text. It exits with 0 when its engine died. So its
signal handlers are replaced once they are set: here the engine stays until the last request has left, for at most
--shutdown-timeout, and what is left by then gets an error. uvicorn then stops as it does for vLLM, by `should_exit`,
and vLLM ends the engine behind it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from vllm import envs

from sppruner_vllm.front import ENGINE_SECONDS, IDLE

from ..environment import DRAIN_SECONDS, NOW
from ..errors.ended import ENGINE_DEAD, CutOff
from ..hooks import notice_engine_loss, part_soon, refuse_generation, stop_serving
from .drain import SHUTTING_DOWN, InFlight

LAST_WORDS: Final = 2.0
"""Seconds for errors to reach their clients once nothing else is waited for."""

GLANCE: Final = 0.2
"""Seconds between two looks at whether the engine lives."""

Shutdown = Callable[..., None]

logger = logging.getLogger("vllm.sppruner.ending")


class Ending:
    """Of one API process, which is the front itself or one of several that the front has started."""

    def __init__(self, engine: Any, state: Any, requests: InFlight, seconds: float) -> None:
        """
        Args:
            engine: vLLM's engine client.
            state: of the app; vLLM puts uvicorn's server there, as `server`, before it starts it.
            requests: in flight, to be closed and waited for.
            seconds: that requests in flight may take after a signal.
        """
        self._engine = engine
        self._state = state
        self._requests = requests
        self._seconds = seconds
        self._is_front = multiprocessing.parent_process() is None
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._watches: list[asyncio.Task[None] | None] = []
        self._over = False

    def listen(self) -> None:
        """Take the signals over from vLLM's handlers; to be called on the event loop, behind them."""
        part_soon(self._state.server)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self._is_front:
            # A terminal that closes; nohup has it ignored, and so it stays.
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                loop.add_signal_handler(signal.SIGHUP, self.stop)
        else:
            loop.add_signal_handler(NOW, self._now.set)
            if (front := multiprocessing.parent_process()) is not None:
                loop.add_reader(front.sentinel, self._follow, front.sentinel)
        self._watches = [loop.create_task(self._watch_engine()), notice_engine_loss(self._engine)]

    def stop(self) -> None:
        """A signal has come. Several processes get one from outside and one from their front: there, one counts."""
        if self._task is None:
            self._requests.close(SHUTTING_DOWN)
            logger.info(
                "stopping: %d requests in flight, %g seconds for them; a second signal stops at once",
                self._requests.count,
                self._seconds,
            )
            self._task = asyncio.get_running_loop().create_task(self._drain())
        elif self._is_front:
            self._now.set()

    def stops(self) -> bool:
        """Whether this process is about to end, or its front is gone, which a full event loop may not know yet."""
        front = multiprocessing.parent_process()
        return self._task is not None or (front is not None and not front.is_alive())

    def _follow(self, sentinel: int) -> None:
        """The front is gone, and with it whoever would end this process; its engines end by themselves."""
        asyncio.get_running_loop().remove_reader(sentinel)
        if self._task is None:
            logger.error("the front is gone")
            self.stop()

    def shutting_down(self, shutdown: Shutdown) -> Shutdown:
        """vLLM's `AsyncLLM.shutdown`, bound, when nothing is in flight, with a status of its own if the engine died."""

        def shutdown_told(timeout: float | None = None) -> None:
            # vLLM's own handlers may have ended the server before we looked; and a client shut down is an errored one.
            died, self._over = self._engine.errored and not self._over, True
            IDLE.set()
            shutdown(timeout=timeout)
            if not self._is_front:
                gc.freeze()  # as the front does last of all: it takes Python long to look for garbage as it ends
            if died:
                raise SystemExit("sppruner-serve: the engine died")

        return shutdown_told

    async def _drain(self) -> None:
        if not await self._left(self._seconds, self._now.wait()):
            logger.warning("cutting off %d requests", self._requests.count)
            await self._cut_off()
        self._leave()

    async def _left(self, seconds: float, *sooner: Any) -> bool:
        """Whether the last request left, within so many seconds and before anything that is `sooner`."""
        waits = [asyncio.ensure_future(wait) for wait in (self._requests.until_empty(), *sooner)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self._requests.count == 0

    async def _cut_off(self) -> None:
        """Answer what is in flight with an error, and free the engine of it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LAST_WORDS
        self._requests.close(SHUTTING_DOWN, 0)
        refuse_generation(self._engine, CutOff)
        while loop.time() < deadline:
            # Anew each time, for what was still on its way to the engine.
            processor = self._engine.output_processor
            ids = list(processor.request_states)
            processor.propagate_error(CutOff())
            await self._engine.abort(ids, internal=True)
            if await self._left(GLANCE):
                return

    async def _watch_engine(self) -> None:
        while not self._engine.errored:  # noqa: ASYNC110 (vLLM sets an attribute, no event)
            await asyncio.sleep(GLANCE)
        if self._task is not None and self._task.done():
            return
        if envs.VLLM_KEEP_ALIVE_ON_ENGINE_DEATH or getattr(self._engine, "should_keep_api_server_alive", False):
            return  # the operator's wish; the second is new in 0.33
        logger.error("the engine died: %d requests in flight", self._requests.count)
        self._requests.close(ENGINE_DEAD, 0)
        await self._left(LAST_WORDS)
        self._leave()

    def _leave(self) -> None:
        stop_serving(self._state.server)


def drain_seconds(shutdown_timeout: int) -> float:
    """How long an API process waits for its requests.

    Args:
        shutdown_timeout: vLLM's setting, which is when a front kills its API processes.
    """
    if (told := os.environ.get(DRAIN_SECONDS)) is not None:
        return float(told)
    if multiprocessing.parent_process() is None:
        return shutdown_timeout
    return max(shutdown_timeout / 2, shutdown_timeout - LAST_WORDS - ENGINE_SECONDS)
