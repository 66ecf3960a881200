"""Repeats: tokens whose pixels equal those of an earlier one of the same group, value for value.

Pure tensor code. docs/develop/algorithm.md, "Repeats before the encoder".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

_WORD: Final = 8
"""Bytes that are multiplied at once."""

_MOST_BYTES: Final = 2**25
"""Of products and of compared tokens held at once."""


def first_alike(units: Tensor, order: Tensor, lengths: Sequence[int]) -> Tensor:
    """For each token the first of its group that has exactly its pixels; itself where there is no earlier one.

    Args:
        units: (N, ...) pixels of each token, of any type, a multiple of 8 bytes.
        order: (N,) int64, the tokens group after group. lengths: tokens of each group, at least 1, N in all.

    Returns:
        (N,) int64 on the host, by place in `order`: the place of that first token, which is its own first.
    """
    flat = units.reshape(len(units), -1)
    found = _by_mark(_marks(flat).index_select(0, order), lengths)
    later = (found != torch.arange(len(found))).nonzero().flatten()
    if len(later):
        # A mark is short: two unlike tokens may have the same one.
        ours, theirs = order[later.to(order.device)], order[found[later].to(order.device)]
        rows = max(1, _MOST_BYTES // (flat.shape[1] * flat.element_size()))
        alike = [
            (flat.index_select(0, one) == flat.index_select(0, other)).all(1)
            for one, other in zip(ours.split(rows), theirs.split(rows), strict=True)
        ]
        unlike = later[~torch.cat(alike).to("cpu")]
        found[unlike] = unlike
    return found


def _marks(flat: Tensor) -> Tensor:
    """(N,) int64, equal for equal tokens: whole numbers, so that no order of adding up tells two of them apart."""
    words = flat.contiguous().view(torch.int64)
    dice = torch.Generator().manual_seed(0)
    odd = torch.randint(-(2**62), 2**62, (words.shape[1],), generator=dice).mul_(2).add_(1).to(flat.device)
    rows = max(1, _MOST_BYTES // (_WORD * words.shape[1]))
    return torch.cat([(part * odd).sum(1) for part in words.split(rows)])


def _by_mark(marks: Tensor, lengths: Sequence[int]) -> Tensor:
    """(N,) int64 on the host, for each token the place of the first of its group with its mark."""
    device = marks.device
    sizes = torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    slots = torch.arange(int(sizes.max()))
    inside = slots < sizes.unsqueeze(1)
    places = (starts.unsqueeze(1) + slots).clamp_max_(len(marks) - 1).to(device)
    own = marks[places]
    alike = (own.unsqueeze(2) == own.unsqueeze(1)) & inside.to(device).unsqueeze(1)
    # The host reads the result anyway, and knows where groups are shorter than the longest.
    return places.gather(1, alike.to(torch.int8).argmax(2)).to("cpu")[inside]
