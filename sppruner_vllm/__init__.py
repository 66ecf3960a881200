"""Visual-token reduction for vLLM, per request and aware of the question.

vLLM calls `register()` in every process it starts (entry point `vllm.general_plugins`).
"""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"

__all__ = ["__version__", "register"]


def register() -> None:
    """Make vLLM build our model classes instead of its own; safe to call any number of times.

    Does no torch or CUDA work: vLLM calls it in processes that fork later.

    Raises:
        UnsupportedSetup: this vLLM version is not one we know.
    """
    from . import registration

    registration.register()
