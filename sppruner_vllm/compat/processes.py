"""What is rebound of vLLM's processes: queues and memory between them, how they are stopped, what a step may take."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Final

from sppruner_vllm.front import seconds_for_engines, stopping_engines

from .following import SHIM, follow

QUEUE_CHUNK: Final = "VLLM_MQ_MAX_CHUNK_BYTES_MB"


def fit_response_queues() -> None:
    """Give the queues of worker answers the chunk size that VLLM_MQ_MAX_CHUNK_BYTES_MB sets; without it, nothing.

    vLLM 0.32 and 0.33 read it for the executor's own queue alone (v1/executor/multiproc_executor.py), and want 240 MiB
    of /dev/shm for each of the others, where a container has 64 by default. A message larger than a chunk goes by
    socket. Expiry: vLLM reading it for all queues.
    """
    if (chunk := os.environ.get(QUEUE_CHUNK)) is None:
        return
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue

    original = MessageQueue.__init__
    if hasattr(original, SHIM):
        return

    @functools.wraps(original)
    def fitted(self: Any, n_reader: int, n_local_reader: int, *args: Any, **kwargs: Any) -> None:
        if len(args) < 2:  # the second is max_chunk_bytes
            kwargs.setdefault("max_chunk_bytes", int(chunk) * 2**20)
        original(self, n_reader, n_local_reader, *args, **kwargs)

    setattr(fitted, SHIM, True)
    MessageQueue.__init__ = fitted


def let_front_announce_stop() -> None:
    """Have a front say that it stops its engines before it signals them, so that they can leave other signals alone.

    vLLM (0.32 and 0.33, v1/engine/utils.py, CoreEngineProcManager) stops an engine with the very signal that a service
    manager or a terminal sends to all processes of a server, and an engine obeys whoever sent it (front.py).
    Expiry: engines that leave signals to their front.
    """
    from vllm.v1.engine.utils import CoreEngineProcManager

    upstream = CoreEngineProcManager.shutdown
    if hasattr(upstream, SHIM):
        return

    @functools.wraps(upstream)
    def announced(self: Any, timeout: float | None = None) -> None:
        with stopping_engines():
            upstream(self, seconds_for_engines(timeout))

    setattr(announced, SHIM, True)
    CoreEngineProcManager.shutdown = announced


def let_ranks_share_unnamed_memory() -> None:
    """Have the ranks of a CPU server take the name of the memory that they share away once all of them hold it.

    vLLM (0.32 and 0.33, csrc/cpu/shm.cpp) unlinks it when a rank ends in peace, so that it stays in /dev/shm when one
    is killed; that a name is gone by then is all the same to it. To be called before ranks meet.
    Expiry: shared memory of upstream's that no killed process leaves behind.
    """
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    def unlink(shared: Any) -> None:
        Path(f"/dev/shm/{shared.group_name}_{shared.communicator.rank}").unlink(missing_ok=True)  # noqa: S108

    follow(_CPUSHMDistributed, "_init_cpu_shm", unlink)


def let_scheduler_charge(config: Any, charging: type[Any]) -> None:
    """Make the engine core's scheduler count the encoder's work by whole pictures.

    vLLM 0.32 and 0.33 count it by the rows that stay, of which they know videos' alone to be fewer
    (v1/core/sched/scheduler.py, `_try_schedule_encoder_inputs`). The configuration names the class of the scheduler
    before asynchronous scheduling is settled, so it is a subclass of the configuration that chooses.
    Expiry: a count of upstream's for what the encoder computes.

    Args:
        config: vLLM's SchedulerConfig. charging: a subclass of its class that chooses such a scheduler.
    """
    if not isinstance(config, charging):
        config.__class__ = charging
