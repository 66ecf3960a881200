"""Which vLLM this runs under: versions, names that have moved, and what the plugin rebinds in every process.

With server/hooks.py, which has what the server rebinds in its own process, the only place that knows. Each shim says
what it works around and when to delete it; tests/plugin/test_compat.py fails once one is not needed.
"""

from __future__ import annotations

import functools
import importlib
import os
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

    vLLM 0.32 and 0.33 read it for the executor's own queue alone (v1/executor/multiproc_executor.py), and want 240 MiB
    of /dev/shm for each of the others, where a container has 64 by default. A message larger than a chunk goes by
    socket. Expiry: vLLM reading it for all queues.
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


def set_up_command() -> None:
    """What vLLM's own command does to the environment before anything else.

    Expiry: the module moved in 0.33; drop the older branch with support for 0.32.
    """
    try:
        from vllm.entrypoints.common.startup import cli_env_setup
    except ModuleNotFoundError:
        from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    cli_env_setup()


def is_client_gone(answer: object) -> bool:
    """Whether what a route of vLLM's returned stands for a client that left before its answer.

    vLLM 0.32 returns None then, 0.33 a 200 with nothing in it, which would otherwise count as an answer
    (entrypoints/serve/utils/api_utils.py, `with_cancellation`).
    Expiry: drop None with support for 0.32.
    """
    from starlette.responses import Response

    return answer is None or (type(answer) is Response and not answer.body)


def open_cpu_runner_gate() -> None:
    """Let the CPU runner strip our columns and ask us for positions.

    `CPUModelRunner.load_model` (vLLM 0.32 and 0.33, v1/worker/cpu_model_runner.py:62) overrides the GPU one without
    setting `is_multimodal_pruning_enabled`, so reduced images would reach the language model with their columns on.
    Called while the model is built; the KV cache is initialised after that and before the first request.
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
