"""What makes vLLM's engine core build our scheduler: its scheduler configuration, asked for the class."""

from __future__ import annotations

from typing import Any

from vllm.config import SchedulerConfig


class ChargingSchedulerConfig(SchedulerConfig):
    """Chooses as vLLM does, or as the operator said, and puts the charging over it.

    Asked late, so that asynchronous scheduling is settled; `scheduler_cls` itself stays what the operator set.
    """

    def get_scheduler_cls(self) -> Any:
        from .scheduler import charging

        return charging(super().get_scheduler_cls())
