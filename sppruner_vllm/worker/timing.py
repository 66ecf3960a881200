"""How long a worker selects, without making the worker wait: as a metric, and as a span where vLLM's tracing is on.

On a GPU the work is only queued when the call returns: two events mark it and are read at a later call, when they have
long passed. On a CPU the clock suffices.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from opentelemetry import trace

from sppruner_vllm.metrics import events

SELECT_SPAN = "sppruner.select"


class SelectionTimer:
    """Observes `sppruner_selection_seconds`; one per model, used by one thread."""

    def __init__(self) -> None:
        self._pending: deque[tuple[str, int, torch.cuda.Event, torch.cuda.Event]] = deque()
        # Does nothing unless vLLM gave this worker a tracer.
        self._tracer = trace.get_tracer(__name__)

    @contextmanager
    def measure(self, method: str, device: torch.device) -> Iterator[None]:
        """Time the work that the block does on `device`."""
        queued = time.time_ns()
        if device.type != "cuda":
            started = time.perf_counter()
            yield
            self._observe(method, queued, time.perf_counter() - started)
            return
        self._collect()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._pending.append((method, queued, begin, end))

    def _collect(self) -> None:
        while self._pending and self._pending[0][3].query():
            method, queued, begin, end = self._pending.popleft()
            self._observe(method, queued, begin.elapsed_time(end) / 1000)

    def _observe(self, method: str, queued: int, seconds: float) -> None:
        """Args: queued: when the host asked for the work, nanoseconds since the epoch; the span starts there."""
        events.observe_selection(method, seconds)
        span = self._tracer.start_span(SELECT_SPAN, start_time=queued, attributes={"sppruner.method": method})
        span.end(queued + int(seconds * 1e9))


class QuestionTimer(SelectionTimer):
    """Observes `sppruner_question_seconds`."""

    def of_questions(self, device: torch.device) -> AbstractContextManager[None]:
        """Time the reading of some questions, which the block does on `device`."""
        return self.measure("", device)

    def _observe(self, method: str, queued: int, seconds: float) -> None:
        events.observe_questions(seconds)
