"""What a question looks at inside the language model, as an upper line for choosing tokens in front of it.

The first layers read the question behind more visual tokens than may stay, and those that get the most attention stay
(after FastV, arXiv 2403.06764, which drops tokens inside the model). Asked for by the evaluation alone: an engine would
need these layers' keys and values twice.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from sppruner_vllm.demo.forward import decode
from sppruner_vllm.demo.pieces import norm, rotate

WIDER: Final = 2
"""Visual tokens that the layers see, in budgets: what they may choose from."""


@torch.no_grad()
def looked_at(language: Any, embedded: Tensor, positions: Tensor, layer: int, first: int) -> Tensor:
    """Attention that each token of a prompt receives in one layer, the mean over its heads and over those who look.

    Args:
        language: transformers' Qwen2.5-VL text model. embedded: (T, D). positions: (3, T) M-RoPE positions.
        layer: counted from 1. first: the tokens from here on look.

    Returns:
        (T,) float32, sums to 1.
    """
    mask = torch.ones(1, 1, len(embedded), len(embedded), dtype=torch.bool).tril()
    hidden, positions = embedded.unsqueeze(0), positions.unsqueeze(1)
    if layer > 1:
        hidden = decode(language, hidden, positions, mask)[layer - 2]
    block = language.layers[layer - 1]
    attention, source = block.self_attn, norm(block.input_layernorm, hidden)
    cos, sin = (part.unsqueeze(1) for part in language.rotary_emb(hidden.float(), positions))
    query, key = (
        rotate(projection(source).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2), cos, sin)
        for projection in (attention.q_proj, attention.k_proj)
    )
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query[:, :, first:] @ key.transpose(2, 3) * attention.scaling
    mass: Tensor = scores.masked_fill(~mask[:, :, first:], -torch.inf).softmax(-1).mean((0, 1, 2))
    return mass


def most_looked_at(mass: Tensor, kept: Tensor, budget: int) -> Tensor:
    """The tokens of a picture that stay, (K,) in raster order.

    Args:
        mass: (M,) attention that each received. kept: (M,) which tokens of the picture they are. budget: K.
    """
    places = mass.sort(descending=True, stable=True).indices[:budget]
    return kept[places.sort().values]
