"""What every layer of the demo's own forward is made of, on transformers' own modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def norm(module: Any, hidden: Tensor) -> Tensor:
    return functional.rms_norm(hidden, hidden.shape[-1:], module.weight.to(hidden.dtype), module.variance_epsilon)


def gated(mlp: Any, hidden: Tensor) -> Tensor:
    wide: Tensor = functional.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden)
    narrow: Tensor = mlp.down_proj(wide)
    return narrow


def rotate(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = values.chunk(2, dim=-1)
    turned: Tensor = values * cos.to(values.dtype) + torch.cat((-right, left), dim=-1) * sin.to(values.dtype)
    return turned
