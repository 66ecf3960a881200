"""The flags and the environment that serve the demo model on a CPU.

They need none of the demo's packages: the container's entry point starts without those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import CHECKPOINT

DEMO_NAME: Final = "sppruner-demo"

KV_SPACE: Final = "VLLM_CPU_KVCACHE_SPACE"
"""GiB; without it the CPU build takes nearly all of the machine's memory for its KV cache."""

DEMO_ENVIRONMENT: Final[Mapping[str, str]] = {
    "HF_HUB_OFFLINE": "1",
    KV_SPACE: "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def demo_arguments() -> list[str]:
    """The command line that serves the demo model on a CPU.

    Blocks of 32 tokens instead of the CPU's 128 let short prompts hit the prefix cache.
    """
    options = ["--dtype", "float32", "--max-model-len", "8192", "--block-size", "32", "--enforce-eager"]
    return ["--model", str(CHECKPOINT), "--served-model-name", DEMO_NAME, *options]
