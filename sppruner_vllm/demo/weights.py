"""Seeded random weights that make a tiny model react: to the picture, to where tokens stand, and to what was said.

The usual small initialisation gives a model that ignores its input and repeats one token; these spreads do not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

GAINS: Final[Mapping[str, float]] = {
    "patch_embed.proj": 2.0,
    "qkv": 1.6,
    "q_proj": 2.2,
    "k_proj": 2.2,
    "lm_head": 3.0,
}
"""Spread of a weight, times sqrt(1 / inputs), by the part of its name that says what it is; 1 for all others.

Sharp queries and keys make attention pick tokens instead of averaging them all, so that content and position count.
"""

BIAS_SPREAD: Final = 0.1
UNSPOKEN: Final = 0.2
"""Factor on the output rows of tokens that an answer should not hold: it puts them out of reach of the best word."""


def fill_with_random_weights(model: nn.Module, seed: int, spoken: Sequence[int]) -> None:
    """Overwrite every parameter of `model` in place.

    Each parameter has its own generator, seeded by its place in name order, so that a tensor does not depend on the
    sizes of those before it. Norms stay at one, embeddings have unit variance.

    Args:
        model: float32 model on the CPU.
        seed: same seed, same weights.
        spoken: token ids that answers are made of; the end of turn is not among them, so answers run to their limit.
    """
    output = model.get_parameter("lm_head.weight")
    with torch.no_grad():
        for index, (name, parameter) in enumerate(sorted(model.named_parameters())):
            generator = torch.Generator().manual_seed(seed * 100_003 + index)
            parameter.copy_(_draw(name, parameter, generator))
        silent = torch.full((len(output), 1), UNSPOKEN)
        silent[list(spoken)] = 1
        output.mul_(silent)


def _draw(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(parameter.shape, generator=generator)
    if name.endswith("bias"):
        return noise * BIAS_SPREAD
    if parameter.dim() == 1:
        return torch.ones_like(parameter)
    if "embed_tokens" in name:
        return noise
    gain = next((gain for part, gain in GAINS.items() if part in name), 1.0)
    return noise * (gain / math.sqrt(parameter[0].numel()))
