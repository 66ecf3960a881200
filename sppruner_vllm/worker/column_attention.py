"""Column attention: how much one block of a vision encoder looks at each visual token.

vLLM's attention kernels keep no weights, so they are computed once more from that block's own rotated queries and keys.
docs/develop/architecture.md, "Column attention".
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

MOST_QUERIES: Final = 1024
"""Queries that are averaged over. An image of more patches is represented by as many, evenly spread, so that the cost
grows with its patches and not with their square."""

MOST_WEIGHTS: Final = 2**24
"""Attention weights held at once, in float32: 64 MiB."""


def visual_tokens_attention(query: Tensor, key: Tensor, merged: int) -> Tensor:
    """Attention that each visual token receives: the mean over heads and queries, summed over its patches.

    Args:
        query, key: (P, heads, d) of one image, rotated, any floating dtype; the patches of a token are neighbours.
        merged: patches that the encoder merges into one visual token.

    Returns:
        (P // merged,) float32 in the order of the patches; it sums to 1.
    """
    patches, heads, width = query.shape
    asked = min(patches, MOST_QUERIES)
    chosen = torch.arange(asked, device=query.device) * patches // asked
    queries = query.index_select(0, chosen).transpose(0, 1).float() * width**-0.5
    keys = key.permute(1, 2, 0).float()
    received = torch.zeros(patches, dtype=torch.float32, device=query.device)
    for part in queries.split(max(1, MOST_WEIGHTS // (heads * patches)), dim=1):
        received += (part @ keys).softmax(-1).sum((0, 1))
    return (received / (heads * asked)).view(-1, merged).sum(1)
