"""Survivors: which tokens go on inside a vision encoder, and what the others would have become.

The others are not forgotten. Each is taken to change as the surviving tokens do that were most like it at the cut, so
that later blocks can look at it, and the rows behind the encoder are as many as ever. Formulas and sources:
docs/develop/algorithm.md, "The cut inside the encoder".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

NEIGHBOURS: Final = 10
"""Survivors that a dropped token takes its change from."""

MOST_DISTANCES: Final = 2**24
"""Distances held at once, in float32: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Survivors:
    """The N tokens of one or several images in two parts, M that go on and R that do not.

    kept: (M,) int64, ascending. dropped: (R,) int64, ascending.
    neighbours: (R, C) int64, for each dropped token the places in `kept` of the survivors most like it at the cut.
    weights: (R, C) of the states' type, how much each of them counts; they sum to 1.
    """

    kept: Tensor
    dropped: Tensor
    neighbours: Tensor
    weights: Tensor

    def restored(self, start: Tensor, now: Tensor) -> Tensor:
        """All tokens as they are now: x_i = s_i + sum over its neighbours j of w_ij (x_j - s_j) for a dropped token i.

        Args:
            start: (N, F) states s at the cut. now: (M, F) states of the survivors.

        Returns:
            (N, F), a new tensor; the survivors' rows are theirs, bit for bit.
        """
        change = now - start.index_select(0, self.kept)
        moved = embedding_bag(self.neighbours, change, mode="sum", per_sample_weights=self.weights)
        missing = start.index_select(0, self.dropped).add_(moved)
        return torch.empty_like(start).index_copy_(0, self.kept, now).index_copy_(0, self.dropped, missing)


def survivors(states: Tensor, scores: Tensor, most: int) -> Survivors:
    """The tokens of one image with the highest scores, and the neighbours of the others among them.

    Args:
        states: (N, F) at the cut. scores: (N,) float32; the earlier one goes on among equals.
        most: M, in [1, N].
    """
    order = scores.sort(descending=True, stable=True).indices
    kept, dropped = order[:most].sort().values, order[most:].sort().values
    neighbours = _most_like(states[dropped].float(), states[kept].float())
    weights = torch.full(neighbours.shape, 1 / neighbours.shape[1], dtype=states.dtype, device=states.device)
    return Survivors(kept, dropped, neighbours, weights)


def joined(parts: Sequence[Survivors], sizes: Sequence[int]) -> Survivors:
    """The survivors of several images, as of one that holds their tokens one after another.

    Args:
        parts: one for each image. sizes: N of each.
    """
    tokens = survived = 0
    widest = max(part.neighbours.shape[1] for part in parts)
    kept, dropped, neighbours, weights = [], [], [], []
    for part, size in zip(parts, sizes, strict=True):
        missing = (0, widest - part.neighbours.shape[1])
        kept.append(part.kept + tokens)
        dropped.append(part.dropped + tokens)
        neighbours.append(pad(part.neighbours, missing) + survived)
        weights.append(pad(part.weights, missing))
        tokens, survived = tokens + size, survived + len(part.kept)
    return Survivors(torch.cat(kept), torch.cat(dropped), torch.cat(neighbours), torch.cat(weights))


def _most_like(tokens: Tensor, others: Tensor) -> Tensor:
    """(R, C) places in `others` (M, F) of the nearest to each of `tokens` (R, F), both float32."""
    count = min(NEIGHBOURS, len(others))
    lengths = others.square().sum(1)
    return torch.cat(
        [
            # The square of a token's own length would move all its distances alike.
            torch.addmm(lengths, part, others.T, alpha=-2).topk(count, dim=1, largest=False, sorted=True).indices
            for part in tokens.split(max(1, MOST_DISTANCES // len(others)))
        ]
    )
