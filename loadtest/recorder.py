"""Collects the samples of one run and writes what came of it: result.json and the reports."""

from __future__ import annotations

import logging
from typing import Any

from .arrivals import Pace
from .files import RESULT, save
from .options import Job
from .page import write_reports
from .sample import Sample
from .server_metrics import Reading
from .slo import TOO_MANY_ERRORS
from .summary import OURS, Setting, summarise

_log = logging.getLogger(__name__)


class Recorder:
    """Of one run at a time; `begin` starts over."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.begin("")

    def begin(self, model: str) -> None:
        """Forget what was recorded.

        Args:
            model: the served name that the run talks to.
        """
        self.model = model
        self.samples: list[Sample] = []
        self.readings: list[Reading] = []
        self.pace: Pace | None = None
        self.status = TOO_MANY_ERRORS

    def finish(self) -> dict[str, Any]:
        """Write result.json, report.html and report.md, and keep the exit status."""
        job = self.job
        setting = Setting(self.model, job.shape, job.users, job.rate, job.slo, job.error_bound, job.options)
        result = summarise(self.samples, setting, self.pace, self.readings)
        self.status = result[OURS]["exit_status"]
        job.out.mkdir(parents=True, exist_ok=True)
        save(job.out / RESULT, result)
        write_reports(result, job.out)
        if self.pace is not None and not self.pace.kept:
            _log.warning(
                "The load generator could not keep up: %d of %d arrivals were late, the worst by %.0f ms",
                *(self.pace.late, self.pace.arrivals, self.pace.worst_s * 1000),
            )
        return result
