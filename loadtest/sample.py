"""One request of a run, with all that was measured. Runs keep every one of them: percentiles are exact."""

from __future__ import annotations

from dataclasses import dataclass

from .stream import StreamedAnswer


@dataclass(frozen=True, slots=True)
class Sample:
    """start_s is on a monotonic clock; late_s is what an open loop sent it later than planned."""

    session: int
    turn: int
    scenario: str
    keep_ratio: float | None
    start_s: float
    late_s: float
    answer: StreamedAnswer

    @property
    def end_s(self) -> float:
        return self.start_s + self.answer.end_s

    @property
    def ok(self) -> bool:
        return self.answer.error is None
