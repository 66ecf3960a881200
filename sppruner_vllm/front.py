"""Signals are for the front, the process that was started; its engines and workers stop when it says so.

A service manager, a terminal that closes and Ctrl-C signal every process of a server. An engine that obeyed would stop
under the requests that its front still means to finish. So an engine heeds a signal only once its front has said that
it stops its engines, or is gone.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import Any, Final

Handler = Callable[[int, FrameType | None], Any]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

ENGINE_SECONDS: Final = 1.0
"""Seconds for engines without work to end before they are killed: what they do then is free memory, piece by piece."""

IDLE: Final = threading.Event()
"""Set in a front whose engines have no work any more, and will get none."""


@contextmanager
def stopping_engines() -> Iterator[None]:
    """Says, while the block lasts, that this process stops the engines it has started."""
    with suppress(OSError):
        _note(os.getpid()).touch(0o600)
    try:
        yield
    finally:
        with suppress(OSError):
            _note(os.getpid()).unlink(missing_ok=True)


def seconds_for_engines(timeout: float | None) -> float | None:
    """How long a front waits for its engines.

    Args:
        timeout: what vLLM gives them, which is meant for engines that still work on requests; 0 and None are kept.
    """
    return min(timeout, ENGINE_SECONDS) if timeout and IDLE.is_set() else timeout


def leave_signals_to_front() -> None:
    """In a process that vLLM has started and that handles signals already, an engine's or a worker's: see above.

    Elsewhere, and where there is no /proc, it does nothing but ignore a terminal that closes.
    """
    parent = multiprocessing.parent_process()
    if parent is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if parent.pid is None or not callable(signal.getsignal(signal.SIGTERM)):
        return
    try:
        note = _note(parent.pid)
    except OSError:
        return

    def front_stops() -> bool:
        return note.exists() or not parent.is_alive()

    for number in SIGNALS:
        if callable(handler := signal.getsignal(number)) and not isinstance(handler, _Guarded):
            signal.signal(number, _Guarded(handler, front_stops))
    _announce_end()
    threading.Thread(target=_end_with, args=(parent,), name="front-watch", daemon=True).start()


class _Guarded:
    """A signal handler that is asked only when the front stops."""

    def __init__(self, handler: Handler, front_stops: Callable[[], bool]) -> None:
        self._handler = handler
        self._front_stops = front_stops

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._front_stops():
            self._handler(number, frame)


def _announce_end() -> None:
    """Have this process say that it stops what it has started when it ends of itself, as an engine that cannot start.

    multiprocessing then terminates its workers, between finalizers of these priorities, and waits for them for ever.
    And have it end soon: Python looks through all objects for garbage as it ends, which takes seconds of a busy core.
    """
    Finalize(None, gc.freeze, exitpriority=1)
    with suppress(OSError):
        note = _note(os.getpid())
        Finalize(None, note.touch, args=(0o600,), exitpriority=0)
        Finalize(None, note.unlink, kwargs={"missing_ok": True}, exitpriority=-1)


def _end_with(front: Any) -> None:
    """End this process when its front is gone: nobody else would, and it holds the device."""
    front.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _note(front: int) -> Path:
    """Where a front leaves its note. Its start time is part of the name, since process ids come again.

    Raises:
        OSError: there is no such process, or no /proc.
    """
    started = Path(f"/proc/{front}/stat").read_text().rpartition(")")[2].split()[19]
    return Path(tempfile.gettempdir()) / f"sppruner-stopping-{front}-{started}"
