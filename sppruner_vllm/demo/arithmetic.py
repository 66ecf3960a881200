"""Which number type a machine computes a neural network in fastest.

bfloat16 halves the memory traffic, and doubles the speed where the processor multiplies it in hardware. Where it does
not, each product is emulated: a training step on AVX2 alone takes several times as long as in float32.
"""

from __future__ import annotations

import torch


def fast_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where `device` multiplies it in hardware, else float32.

    Args:
        device: "cpu" or "cuda".
    """
    on_gpu = device == "cuda"
    native = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_multiplies_bfloat16()
    return torch.bfloat16 if native else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    has = torch.cpu.get_capabilities()
    if has["architecture"] == "x86_64":
        # AVX-512 alone is not enough: the first processors with it emulate bfloat16. The second test is of what torch
        # was told to use (ATEN_CPU_CAPABILITY), for the first one sees the processor as it is.
        units = has.get("avx512_bf16", False) or has.get("amx_bf16", False)
        return bool(units) and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return bool(has.get("bf16", False))
