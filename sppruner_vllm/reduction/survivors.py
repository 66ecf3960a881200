"""Survivors: which tokens go on inside a vision encoder, and what the others would have become.

The others are not forgotten. Each is taken to change as the surviving tokens do that were most like it at the cut. So
those go on that are least like any other: what is left out has a likeness left in. Formulas and sources:
docs/develop/algorithm.md, "The cut inside the encoder".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

NEIGHBOURS: Final = 10
"""Survivors that a dropped token takes its change from."""

SOFTNESS: Final = 0.5
"""A neighbour as much farther than the nearest as this, in times of the nearest one's squared distance, counts 1/e."""

ROUNDS: Final = 8
"""Steps in which the tokens are thinned out. Many come near to dropping one at a time, which no device does fast."""

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


def survivors(states: Tensor, most: int) -> Survivors:
    """The tokens of one image that are least like the others, and the neighbours of the rest among them.

    Args:
        states: (N, F) at the cut, any floating type. most: M, in [1, N].
    """
    exact = states.float()
    kept = _unlike(exact, most)
    gone = torch.ones(len(states), dtype=torch.bool, device=states.device).index_fill_(0, kept, False)
    dropped = gone.to(torch.int8).sort(descending=True, stable=True).indices[: len(states) - most]
    neighbours, weights = _most_like(exact[dropped], exact[kept])
    return Survivors(kept, dropped, neighbours, weights.to(states.dtype))


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


def _unlike(states: Tensor, most: int) -> Tensor:
    """(M,) tokens, ascending, left when again and again those go that another one is nearest to.

    In each round every second token is looked at, and those go whose nearest among the rest is nearest: that one stays.

    Args:
        states: (N, F) float32.
    """
    left = torch.arange(len(states), device=states.device)
    step = 0
    while len(left) > most:
        target = max(most, round(len(states) * (most / len(states)) ** min(1.0, (step + 1) / ROUNDS)))
        looked_at, rest = left[step % 2 :: 2], left[1 - step % 2 :: 2]
        distances = torch.cat([part.amin(1) for part in _squared_distances(states[looked_at], states[rest])])
        goes = min(len(left) - target, len(looked_at))
        stays = distances.sort(stable=True).indices[goes:]
        left = torch.cat((looked_at[stays], rest)).sort().values
        step += 1
    return left


def _most_like(tokens: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) places in `others` (M, F) of the nearest to each of `tokens` (R, F), both float32, and their weights."""
    count = min(NEIGHBOURS, len(others))
    parts = [part.topk(count, dim=1, largest=False) for part in _squared_distances(tokens, others)]
    distances = torch.cat([part.values for part in parts])
    nearest = distances[:, :1].clamp_min(1e-6 * tokens.square().mean() * tokens.shape[1])
    weights = ((distances[:, :1] - distances) / (SOFTNESS * nearest)).softmax(1)
    return torch.cat([part.indices for part in parts]), weights


def _squared_distances(tokens: Tensor, others: Tensor) -> Iterator[Tensor]:
    """(R, M) in parts of some rows each, right to rounding; never negative."""
    lengths = others.square().sum(1)
    for part in tokens.split(max(1, MOST_DISTANCES // len(others))):
        between = torch.addmm(lengths, part, others.T, alpha=-2)
        yield between.add_(part.square().sum(1, keepdim=True)).clamp_min_(0)
