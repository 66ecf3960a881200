"""Comparator `saliency`: the K tokens that stand out most, with no context and no question.

The saliency is that of `focus_context`, so that the table shows what the rest of it adds.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .batch import Batch
from .params import FocusContextParams
from .ranking import by_priority, in_groups
from .saliency import centred_directions, saliency
from .types import ImageTokens, Selection


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: FocusContextParams) -> list[Selection]:
    """Top K by s of `saliency.saliency`: centred distinctiveness, blended with column attention where there is any."""

    def choose(batch: Batch) -> list[Selection]:
        salient = saliency(centred_directions(batch), batch, params)
        return by_priority(batch, salient, saliency=salient)

    return in_groups(images, params, choose)
