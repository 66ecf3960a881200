"""Questions that say nothing about their picture any more, though their vectors look as before.

What a selection makes of them shows whether its gate holds: it has to be what it is without a question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

_SEED: Final = 5

Disturbance = Callable[[Sequence[Tensor], Tensor], list[Tensor]]
"""From the vectors of several questions, (T, D) each, and the (D,) mean that is subtracted from them, to others of the
same shapes."""


def rotated(queries: Sequence[Tensor], mean: Tensor) -> list[Tensor]:
    """Turned by one random orthogonal matrix: lengths and angles among words stay, those to pictures are random."""
    turn, _ = torch.linalg.qr(torch.randn(len(mean), len(mean), generator=_dice()))
    return [mean + (query - mean) @ turn for query in queries]


def negated(queries: Sequence[Tensor], mean: Tensor) -> list[Tensor]:
    """Pointing away from what they point at."""
    return [2 * mean - query for query in queries]


def shuffled(queries: Sequence[Tensor], mean: Tensor) -> list[Tensor]:
    """Those of a question far off: real ones, of another picture."""
    far = len(queries) // 2
    return [*queries[far:], *queries[:far]]


def noise(queries: Sequence[Tensor], mean: Tensor) -> list[Tensor]:
    """Normal noise, in each column of the spread that all words have there."""
    spread, dice = (torch.cat(list(queries)) - mean).square().mean(0).sqrt(), _dice()
    return [mean + spread * torch.randn(query.shape, generator=dice) for query in queries]


DISTURBANCES: Final[Mapping[str, Disturbance]] = {
    "rotated": rotated,
    "negated": negated,
    "noise": noise,
    "shuffled": shuffled,
}


def _dice() -> torch.Generator:
    return torch.Generator().manual_seed(_SEED)
