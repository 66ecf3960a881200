"""Comparator `maxmin`: greedy max-min diversity, as DivPrune chooses (CVPR 2025).

Looks at no question and no attention; on Qwen2.5-VL it is published to beat the query-aware CDPruner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.cosine import plain_directions
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import by_picks, first_best, in_groups, rows_of
from sppruner_vllm.reduction.core.types import ImageTokens, Selection

_BLOCK: Final = 512
"""Rows compared with all others at once, which bounds the memory of the first pick."""

_WITHOUT_DIRECTION: Final = 2.0
"""Likeness of a zero row to whatever is kept: more than any cosine, so that it is picked last."""


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: object) -> list[Selection]:
    """S = {argmax_n min_{m != n} d(n, m)}, then again and again argmax over n not in S of min_{m in S} d(n, m).

    d = 1 - cos of the rows as they are, not centred: DivPrune (vbdi/divprune). Cosines are right to 2e-4. Rows without
    a direction come last.
    """
    return in_groups(images, lambda batch: by_picks(batch, _picks(batch)))


def _picks(batch: Batch) -> list[Tensor]:
    units = plain_directions(batch.space)
    alive = (units != 0).any(-1)
    open_tokens = batch.real.clone()
    alike = torch.where(alive, _nearest(units, alive), _WITHOUT_DIRECTION)
    picks = [first_best(-alike, open_tokens)]
    alike = torch.where(alive, -1.0, _WITHOUT_DIRECTION).to(torch.float64)
    for _ in range(1, max(image.budget for image in batch.images)):
        cosines = exact.cosines(exact.products(units, rows_of(units, picks[-1])).squeeze(-1))
        alike = torch.maximum(alike, cosines)
        picks.append(first_best(-alike, open_tokens))
    return picks


def _nearest(units: Tensor, alive: Tensor) -> Tensor:
    """(B, N) float64 cosine of each row to the most similar other row that has a direction; -1 without one."""
    index = torch.arange(units.shape[1], device=units.device)
    blocks = []
    for start in range(0, units.shape[1], _BLOCK):
        dots = exact.products(units[:, start : start + _BLOCK], units)
        ignored = ~alive.unsqueeze(1) | (index[start : start + _BLOCK, None] == index)
        blocks.append(dots.masked_fill_(ignored, -(exact.UNIT**2)).amax(-1))
    return exact.cosines(torch.cat(blocks, dim=1))


METHOD: Final = Method("maxmin", select=select, options={"merger_input"})
