"""Measures, once a worker is warm, what a selection takes and what a prompt token takes that it spares.

Both on made-up rows of the model's own width, precision and device: what they hold does not change what they cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.logger import init_logger

from sppruner_vllm.parts import publish
from sppruner_vllm.planning.paying import Parts, fitted
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import ImageTokens

from .served import usual_selection

SELECTIONS: Final[tuple[tuple[Grid, int], ...]] = (((8, 8), 16), ((32, 32), 256), ((32, 32), 768))
PROMPT: Final = 4096
"""Most tokens of the longer of two dummy prompts; short ones take an accelerator no longer than no prompt at all."""
PROMPT_CPU: Final = 512
"""The same on a CPU, where every token takes its time, and a large model takes seconds for these."""

IMAGES: Final = 8
"""Images that are selected for at once: a busy step shares what does not grow with them, such as launches."""

_QUESTION: Final = 16
_TIMES: Final = 3
_ROUNDS: Final = 16
"""At most so often are both prompts run that many times, as long as the longer one seems to take no longer."""

logger = init_logger("vllm.sppruner")


def measure(worker: Any) -> None:
    """Measure and publish; a server that could not be measured serves without the figures.

    Args:
        worker: vLLM's, its model loaded and warm.
    """
    config = worker.vllm_config
    try:
        parts = _measured(worker)
        if get_tensor_model_parallel_rank() == 0 and config.parallel_config.data_parallel_rank == 0:
            logger.info("a prompt token takes %.3g s; %s", parts.prefill, parts)
            publish(config.model_config.model, parts)
    except Exception:
        logger.warning("could not measure what a reduction takes; every one will count as paying", exc_info=True)


@torch.inference_mode()
def _measured(worker: Any) -> Parts:
    # By nothing that was timed: all ranks have to run the same.
    longest = PROMPT_CPU if worker.device.type == "cpu" else PROMPT
    longer = min(longest, worker.vllm_config.scheduler_config.max_num_batched_tokens)
    shorter = longer // 4
    run = worker.model_runner._dummy_run
    prompts = partial(run, shorter, skip_eplb=True), partial(run, longer, skip_eplb=True)
    # A worker that is alone may look at what it timed.
    short, long = compared(*prompts, rounds=_ROUNDS if worker.parallel_config.world_size_across_dp == 1 else 1)
    timed = {(math.prod(grid), kept): _quickest(_selection(worker, grid, kept)) / IMAGES for grid, kept in SELECTIONS}
    return fitted(usual_selection(), (long - short) / (longer - shorter), timed)


def _selection(worker: Any, grid: Grid, kept: int) -> Callable[[], object]:
    model, device = worker.get_model(), worker.device
    noise = torch.randn(math.prod(grid), model.family.row_width, generator=torch.Generator().manual_seed(0))
    question = torch.zeros(_QUESTION, dtype=torch.int64, device=device)
    method = usual_selection()
    (asked,) = model._selector.asked([question], [method])
    image = ImageTokens(noise.to(device, worker.model_config.dtype), grid, budget=kept, **asked)
    select = partial(model.rehearse, [image] * IMAGES, [None] * IMAGES)
    if not model._selector.reads(method):
        return select

    def read_and_select() -> object:
        model._selector.asked([question] * IMAGES, [method] * IMAGES)
        return select()

    return read_and_select


def compared(shorter: Callable[[], object], longer: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of the quickest run of each of two works, of which the second is more.

    On a processor that others use too, each of a few runs may have been held up by more than what sets the two apart.
    Further runs only come nearer to what each takes by itself.

    Args:
        rounds: at most so often are both run, until the longer one takes longer.
    """
    short, long = math.inf, math.inf
    for _ in range(rounds):
        short, long = min(short, _quickest(shorter)), min(long, _quickest(longer))
        if long > short:
            break
    return short, long


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of the quickest of some runs, until the device is done."""
    found = []
    for _ in range(_TIMES):
        _wait()
        begun = time.perf_counter()
        work()
        _wait()
        found.append(time.perf_counter() - begun)
    return min(found)


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
