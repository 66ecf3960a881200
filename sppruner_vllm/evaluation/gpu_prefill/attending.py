"""Parts of the vision tower's attention, for pictures side by side."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(images, P, heads, d) turned by the rotary tables, (P, d) or (images, P, d)."""
    left, right = states.chunk(2, dim=-1)
    return states * cos.unsqueeze(-2) + torch.cat([-right, left], dim=-1) * sin.unsqueeze(-2)


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """(S, Q, heads, d) of queries (S, Q, heads, d) that see keys and values (S, P, heads, d)."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
