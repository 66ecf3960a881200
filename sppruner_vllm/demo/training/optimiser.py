"""Muon for matrices, AdamW for the rest, one schedule for both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import nn

from .muon import Muon

WARM_UP: Final = 100
_FLAT: Final = ("embed_tokens", "lm_head", "patch_embed", "position_embed", "reader", "probes")
"""Parts whose matrices are tables or single layers between unlike spaces: AdamW suits them better."""


class Optimiser:
    """Both optimisers behind one step."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        rate: float,
        steps: int,
        cool_down: float,
        dtype: torch.dtype,
    ) -> None:
        """Optimise `named` over so many steps; the rate falls to zero over the last `cool_down` share of them.

        dtype: what Muon orthogonalises in; weights and their momentum stay as they are.
        """
        parameters = list(named)
        flat = [weight for name, weight in parameters if weight.dim() != 2 or any(part in name for part in _FLAT)]
        known = {id(weight) for weight in flat}
        matrices = [weight for _, weight in parameters if id(weight) not in known]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(flat, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        ]
        if matrices:
            self.parts.append(Muon(matrices, rate, weight_decay=0.02, dtype=dtype))
        self.weights = [weight for _, weight in parameters]
        self.rate, self.steps, self.cool_down = rate, steps, cool_down

    def step(self, number: int) -> None:
        """One update at step `number`, then cleared gradients."""
        factor = min(1.0, (number + 1) / WARM_UP, max(0.0, (self.steps - number) / (self.steps * self.cool_down)))
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[dict[str, object]]:
        return [part.state_dict() for part in self.parts]

    def load(self, state: list[dict[str, object]]) -> None:
        for part, saved in zip(self.parts, state, strict=True):
            part.load_state_dict(saved)
