"""vLLM's schedulers, charging the encoder of each step for whole pictures instead of for the rows they keep.

`charging` puts it over any scheduler that is one of vLLM's, so also over a user's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from vllm.logger import init_logger
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from sppruner_vllm.compat.grammars import let_requests_have_their_library
from sppruner_vllm.heap import tend_heap
from sppruner_vllm.settings import settings

from .encoder_budget import EncoderBudget

logger = init_logger("vllm.sppruner")

_AS_VLLM: Final = "so a step counts the encoder's work by kept visual tokens and may bring more pixels than unreduced"


class ChargingScheduler(Scheduler):
    """A step takes no more pictures than it would unreduced; the cache of encoder rows is counted in kept rows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        media = self.vllm_config.model_config.multimodal_config
        if media is not None and media.mm_processor_cache_type == "shm":
            logger.warning("--mm-processor-cache-type shm hides pictures from the scheduler, %s", _AS_VLLM)
        self.encoder_cache_manager: Any = EncoderBudget(self.encoder_cache_manager)
        search = super()._try_schedule_encoder_inputs
        tend_heap(settings().heap_trim_seconds)
        let_requests_have_their_library(self.structured_output_manager)
        self._searches_as_vllm = getattr(search, "__func__", None) is Scheduler._try_schedule_encoder_inputs

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        self.encoder_cache_manager.start_step(self.max_num_encoder_input_tokens, self.max_num_scheduled_tokens)
        most = self.max_num_active_reqs
        try:
            return super().schedule(*args, **kwargs)
        finally:
            self.max_num_active_reqs: int = most

    def _try_schedule_encoder_inputs(
        self,
        request: Request,
        num_computed_tokens: int,
        num_new_tokens: int,
        encoder_compute_budget: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[list[int], int, int, list[int], list[int]]:
        budget = self.encoder_cache_manager
        last = request.mm_features[-1].mm_position
        if self._searches_as_vllm and last.offset + last.length <= num_computed_tokens:
            # vLLM would search behind the last picture and find none: for every running request, in every step.
            budget.spend(num_new_tokens)
            return [], num_new_tokens, encoder_compute_budget, [], []
        if budget.is_full(request, num_computed_tokens):
            # Nor would the requests behind it get any: vLLM takes in none beyond this number.
            self.max_num_active_reqs = 0
            return [], 0, encoder_compute_budget, [], []
        budget.start_request(num_computed_tokens, encoder_compute_budget)
        scheduled, tokens, left, external, duplicates = super()._try_schedule_encoder_inputs(
            request, num_computed_tokens, num_new_tokens, encoder_compute_budget, *args, **kwargs
        )
        left = budget.charge(request, scheduled, tokens, left)
        return scheduled, tokens, left, external, duplicates


class ChargingAsyncScheduler(ChargingScheduler, AsyncScheduler):
    """The same over vLLM's asynchronous scheduler."""


@cache
def charging(scheduler: Any) -> Any:
    """A scheduler class that charges whole pictures and else does what the given one does.

    Args:
        scheduler: as vLLM, or the operator's `--scheduler-cls`, chose it. What is not made from vLLM's `Scheduler` is
            returned as it is, with a warning: it may derive from `ChargingScheduler` itself.
    """
    ready = {Scheduler: ChargingScheduler, AsyncScheduler: ChargingAsyncScheduler}
    if scheduler in ready:
        return ready[scheduler]
    if not isinstance(scheduler, type) or not issubclass(scheduler, Scheduler):
        logger.warning("%s is no subclass of vLLM's Scheduler, %s", scheduler, _AS_VLLM)
        return scheduler
    if issubclass(scheduler, ChargingScheduler):
        return scheduler
    return type(f"Charging{scheduler.__name__}", (ChargingScheduler, scheduler), {"__module__": scheduler.__module__})
