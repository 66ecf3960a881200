"""What is rebound in a worker: when its runner asks the model for positions, and what it tells the model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .following import SHIM, follow, have_forget


def let_runners_ask(config: Any, asking: type[Any]) -> None:
    """Make this process's runner strip our columns and ask the model for positions.

    Both runners do so where the multimodal configuration says that the model prunes, which vLLM 0.32 and 0.33 know of
    videos alone (config/multimodal.py, `is_multimodal_pruning_enabled`). A subclass says it for this configuration
    only; what upstream reads of videos stays as it is.
    Expiry: a switch of upstream's for pictures.

    Args:
        config: vLLM's MultiModalConfig. asking: a subclass of its class that says yes.
    """
    config.__class__ = asking
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        _let_cpu_runner_ask()
    _ask_in_steps_with_pictures()


def _let_cpu_runner_ask() -> None:
    """Let the CPU runner look at what the configuration says.

    `CPUModelRunner.load_model` (vLLM 0.32 and 0.33, v1/worker/cpu_model_runner.py:62) overrides the GPU one without
    setting `is_multimodal_pruning_enabled`, so reduced images would reach the language model with their columns on.
    Called while the model is built; the KV cache is initialised after that and before the first request.
    Expiry: delete when upstream's `load_model` looks at it.
    """
    from vllm.model_executor.models.interfaces import supports_multimodal_pruning
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    upstream = CPUModelRunner.initialize_kv_cache
    if hasattr(upstream, SHIM):
        return

    @functools.wraps(upstream)
    def initialize_kv_cache(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = self.model_config.multimodal_config
        self.is_multimodal_pruning_enabled = (
            config is not None
            and config.is_multimodal_pruning_enabled()
            and supports_multimodal_pruning(self.get_model())
        )
        return upstream(self, *args, **kwargs)

    setattr(initialize_kv_cache, SHIM, True)
    CPUModelRunner.initialize_kv_cache = initialize_kv_cache


def _ask_in_steps_with_pictures() -> None:
    """Keep runner V1 from asking for positions in a step that no picture or video is part of.

    vLLM 0.32 and 0.33 ask for every request in every step and then compute the positions of the whole batch once more
    (v1/worker/gpu_model_runner.py, `_gather_mm_embeddings`): with eight requests a twentieth of a millisecond and more,
    for each token. Where a step holds no media there is nothing to gather.
    Expiry: upstream asking only where there are embeddings, as its runner V2 does.
    """
    import torch
    from vllm.v1.worker.gpu_model_runner import PIN_MEMORY, GPUModelRunner

    upstream = GPUModelRunner._gather_mm_embeddings
    if hasattr(upstream, SHIM):
        return

    @functools.wraps(upstream)
    def gather(self: Any, scheduler_output: Any, shift_computed_tokens: int = 0) -> Any:
        if not self.is_multimodal_pruning_enabled or _holds_media(self, shift_computed_tokens):
            return upstream(self, scheduler_output, shift_computed_tokens)
        # What upstream would find request by request: no embeddings, and no token that stands for one.
        tokens = scheduler_output.total_num_scheduled_tokens
        return [], torch.zeros(tokens, dtype=torch.bool, device="cpu", pin_memory=PIN_MEMORY)

    setattr(gather, SHIM, True)
    GPUModelRunner._gather_mm_embeddings = gather


def _holds_media(runner: Any, shift: int) -> bool:
    """Whether some request of runner V1's batch has media, which it holds by place, that are not wholly behind it."""
    for name in runner.input_batch.req_ids:
        request = runner.requests[name]
        if request.mm_features:
            last = request.mm_features[-1].mm_position
            if request.num_computed_tokens + shift < last.offset + last.length:
                return True
    return False


def call_when_warm(worker: type[Any], then: Callable[[Any], None]) -> None:
    """Have this process's worker call `then` with itself once it is warm, before it is given any request.

    vLLM 0.32 and 0.33 end a worker's start with `compile_or_warm_up_model` (v1/worker/worker_base.py), of which they
    tell no model.
    Expiry: a hook of models or plugins at the end of warm-up.

    Args:
        worker: the class of this process's worker.
    """
    follow(worker, "compile_or_warm_up_model", then)


def let_workers_forget_rows() -> None:
    """Have a model drop the rows it keeps whenever its worker drops encoder outputs or takes new weights.

    vLLM 0.32 and 0.33 tell a model of neither (v1/worker/gpu_worker.py). Pausing and sleep mode come through
    `reset_encoder_cache`; a transfer of weights may copy them into place past the model's `load_weights`.
    Expiry: a hook of upstream's for what a model keeps.
    """
    from vllm.v1.worker.gpu_worker import Worker

    for name in ("reset_encoder_cache", "reload_weights", "finish_weight_update"):
        follow(Worker, name, lambda worker: have_forget(worker.model_runner.get_model(), "forget_rows"))


def let_workers_tell(name: str) -> None:
    """Give workers a method of this name, which passes on to their model's `tell`; other models have nothing to tell.

    vLLM 0.32 and 0.33 call methods of a worker by their name (`collective_rpc`); of its model they call none, unless
    functions may be sent to workers.
    Expiry: a call of upstream's that reaches the model.
    """
    from vllm.v1.worker.gpu_worker import Worker

    def told(self: Any, *args: Any) -> Any:
        tell = getattr(self.model_runner.get_model(), "tell", None)
        return {} if tell is None else tell(*args)

    setattr(Worker, name, told)
