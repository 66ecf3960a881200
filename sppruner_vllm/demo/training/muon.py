"""Muon, an optimiser for weight matrices, in the number type that the processor is made for.

`torch.optim.Muon` always orthogonalises in bfloat16. Where the processor emulates that, it takes more time than forward
and backward pass together. In bfloat16 both take the same steps, bit for bit (tests/pure/test_demo_optimiser.py).

Method: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale of the update:
J. Liu et al., "Muon is Scalable for LLM Training", 2025.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

_MOMENTUM: Final = 0.95
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values towards 1: linear, cubic and fifth-power term."""
_ROUNDS: Final = 5
_SMALLEST_NORM: Final = 1e-7
_ADAM_SCALE: Final = 0.2
"""Times sqrt(longer side): the update's root mean square is then that of AdamW at the same learning rate."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made nearly orthogonal, with decoupled weight decay."""

    def __init__(self, matrices: Iterable[nn.Parameter], rate: float, weight_decay: float, dtype: torch.dtype) -> None:
        """Optimise `matrices`, each 2-D; orthogonalise in `dtype`."""
        super().__init__(list(matrices), {"lr": rate, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every matrix that has a gradient.

        Raises:
            ValueError: a closure was given; nothing is evaluated twice here.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._update(matrix, matrix.grad, group["lr"], group["weight_decay"])

    def _update(self, matrix: Tensor, gradient: Tensor, rate: float, weight_decay: float) -> None:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM), self._dtype)
        matrix.mul_(1 - rate * weight_decay)
        matrix.add_(update, alpha=-rate * _ADAM_SCALE * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """A nearly orthogonal matrix with the singular vectors of `matrix`, by Newton-Schulz iteration.

    Args:
        matrix: (A, B). dtype: of the arithmetic and of the result.

    Returns:
        (A, B); singular values lie about 1, between 0.5 and 1.5.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    flat = matrix.to(dtype, copy=True)
    flat = flat.T if tall else flat
    flat.div_(flat.norm().clamp(min=_SMALLEST_NORM))
    linear, cubic, fifth = _COEFFICIENTS
    for _ in range(_ROUNDS):
        gram = flat @ flat.T
        flat = torch.addmm(flat, torch.addmm(gram, gram, gram, beta=cubic, alpha=fifth), flat, beta=linear)
    return flat.T if tall else flat
