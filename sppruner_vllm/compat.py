"""The only place that knows which vLLM it runs under.

Each shim says what it works around and when to delete it; tests/plugin/test_compat.py fails once one is not needed.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from packaging.version import Version

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.families import ARCHITECTURES, PREPARED

OLDEST: Final = Version("0.32")
FIRST_UNKNOWN: Final = Version("0.34")

QUEUE_CHUNK: Final = "VLLM_MQ_MAX_CHUNK_BYTES_MB"

_SHIM: Final = "_sppruner_shim"


def check_version(version: str) -> None:
    """Refuse a vLLM whose hooks we have not read.

    Raises:
        UnsupportedSetup: outside [0.32, 0.34).
    """
    if not OLDEST <= Version(Version(version).base_version) < FIRST_UNKNOWN:
        raise UnsupportedSetup(f"sppruner_vllm supports vllm>={OLDEST},<{FIRST_UNKNOWN}; this is vLLM {version}")


def register() -> None:
    """Point vLLM's model registry at our classes, by name so that nothing heavy is imported yet.

    Raises:
        UnsupportedSetup: this vLLM version is not supported.
    """
    import vllm

    check_version(vllm.__version__)
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    for architecture, module in ARCHITECTURES.items():
        ModelRegistry.register_model(architecture, f"{module}:{architecture}")
    for architecture in PREPARED:
        MODELS_CONFIG_MAP[architecture] = _preparing(architecture)
    fit_response_queues()


def _preparing(architecture: str) -> Any:
    """What vLLM asks about a configuration before it looks at it; our class is imported no earlier than that."""
    from vllm.model_executor.models.config import VerifyAndUpdateConfig

    class Prepared(VerifyAndUpdateConfig):  # type: ignore[misc]
        @staticmethod
        def verify_and_update_model_config(model_config: Any) -> None:
            module = importlib.import_module(ARCHITECTURES[architecture])
            getattr(module, architecture).prepare_config(model_config.hf_config)

    return Prepared


def fit_response_queues() -> None:
    """Give the queues of worker answers the chunk size that VLLM_MQ_MAX_CHUNK_BYTES_MB sets; without it, nothing.

    vLLM 0.32 heeds it for the executor's own queue alone, and wants 240 MiB of /dev/shm for each of the others, where a
    container has 64 by default. A message larger than a chunk goes by socket. Expiry: vLLM heeding it for all queues.
    """
    if (chunk := os.environ.get(QUEUE_CHUNK)) is None:
        return
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue

    original = MessageQueue.__init__
    if hasattr(original, _SHIM):
        return

    @functools.wraps(original)
    def fitted(self: Any, n_reader: int, n_local_reader: int, *args: Any, **kwargs: Any) -> None:
        if len(args) < 2:  # the second is max_chunk_bytes
            kwargs.setdefault("max_chunk_bytes", int(chunk) * 2**20)
        original(self, n_reader, n_local_reader, *args, **kwargs)

    setattr(fitted, _SHIM, True)
    MessageQueue.__init__ = fitted


def serve_parser() -> Any:
    """vLLM's own parser of its serve flags.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    try:
        from vllm.entrypoints.common.cli_args import make_arg_parser
    except ModuleNotFoundError:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
    return make_arg_parser(FlexibleArgumentParser(prog="sppruner-serve"))


def open_cpu_runner_gate() -> None:
    """Let the CPU runner strip our columns and ask us for positions.

    `CPUModelRunner.load_model` (vLLM 0.32, v1/worker/cpu_model_runner.py:62) overrides the GPU one without setting
    `is_multimodal_pruning_enabled`, so reduced images would reach the language model with their columns on. Called
    while the model is built; the KV cache is initialised after that and before the first request.
    Expiry: delete when upstream's `load_model` evaluates the gate.
    """
    from vllm.model_executor.models.interfaces import supports_multimodal_pruning
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    upstream = CPUModelRunner.initialize_kv_cache
    if hasattr(upstream, _SHIM):
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

    setattr(initialize_kv_cache, _SHIM, True)
    CPUModelRunner.initialize_kv_cache = initialize_kv_cache


def watch_sender_cache(renderer: Any, on_rendering: Callable[[Callable[[], None]], None]) -> None:
    """Offer, for each rendering, a way to take back what it entered into vLLM's sender cache.

    Rendering an image makes an API process believe that the engine has it. When the request is then refused, the engine
    has not, and the next request with the same image ends in a 500 (vLLM 0.32, multimodal/cache/lru.py,
    `MultiModalCacheMissError`).
    Expiry: delete when upstream forgets what a refused request has entered.

    Args:
        renderer: vLLM's BaseRenderer. Its `_mm_executor` has a single thread, the only one that works on the cache, so
            that a withdrawal queued there runs between renderings.
        on_rendering: gets the withdrawal of each rendering before it starts, in the task of its request.
    """
    cache, executor, process = renderer.mm_processor_cache, renderer._mm_executor, renderer._process_multimodal
    if cache is None:
        return
    enter = cache.get_and_update_item
    noted: list[str] = []  # what the rendering in progress has entered

    def enter_noted(item: Any, key: str) -> Any:
        new = not cache.is_cached_item(key)
        entry = enter(item, key)
        if new:
            noted.append(key)
        return entry

    async def process_noted(*args: Any, **kwargs: Any) -> Any:
        entered: list[str] = []

        def work() -> Any:
            noted.clear()
            try:
                return process(*args, **kwargs)
            finally:
                entered.extend(noted)

        def forget() -> None:
            for key in entered:
                cache.invalidate(key)

        def withdraw() -> None:
            with suppress(RuntimeError):  # the executor is shut down, and with it the cache
                executor.submit(forget)

        on_rendering(withdraw)
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    cache.get_and_update_item = enter_noted
    renderer._process_multimodal_async = process_noted
