"""How long a worker selects, without making the worker wait.

On a GPU the work is only queued when the call returns: two events mark it and are read at a later call, when they have
long passed. On a CPU the clock suffices.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from . import metrics


class SelectionTimer:
    """Observes `sppruner_selection_seconds`; one per model, used by one thread."""

    def __init__(self) -> None:
        self._pending: deque[tuple[str, torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def measure(self, method: str, device: torch.device) -> Iterator[None]:
        """Time the work that the block does on `device`."""
        if device.type != "cuda":
            started = time.perf_counter()
            yield
            metrics.selection_seconds().labels(method).observe(time.perf_counter() - started)
            return
        self._collect()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._pending.append((method, begin, end))

    def _collect(self) -> None:
        while self._pending and self._pending[0][2].query():
            method, begin, end = self._pending.popleft()
            metrics.selection_seconds().labels(method).observe(begin.elapsed_time(end) / 1000)
