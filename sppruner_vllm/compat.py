"""The only place that knows which vLLM it runs under.

Each shim says what it works around and when to delete it; tests/unit/test_compat.py fails once one is not needed.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from packaging.version import Version

from .errors import UnsupportedSetup

OLDEST: Final = Version("0.32")
FIRST_UNKNOWN: Final = Version("0.34")

_SHIM: Final = "_sppruner_shim"

ARCHITECTURES: Final = {
    "Qwen2_5_VLForConditionalGeneration": "sppruner_vllm.models.qwen_vl:Qwen2_5_VLForConditionalGeneration",
}


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

    for architecture, path in ARCHITECTURES.items():
        ModelRegistry.register_model(architecture, path)


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
