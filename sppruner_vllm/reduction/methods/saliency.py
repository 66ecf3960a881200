"""Comparator `saliency`: the K tokens that stand out most, with no context and no question.

What stands out is what points away from the mean, as Cen-Prune has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import by_priority, in_groups
from sppruner_vllm.reduction.core.types import ImageTokens, Selection
from sppruner_vllm.reduction.focus_context.params import SaliencyParams
from sppruner_vllm.reduction.focus_context.saliency import distinctiveness, saliency


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: SaliencyParams) -> list[Selection]:
    """Top K by s of `saliency.saliency`: centred distinctiveness, blended with column attention where there is any."""

    def choose(batch: Batch) -> list[Selection]:
        salient = saliency(distinctiveness(centre(batch.space, batch).units, batch), batch, params)
        return by_priority(batch, salient, saliency=salient)

    return in_groups(images, choose)


METHOD: Final = Method(
    "saliency", select=select, needs={"attention"}, options={"merger_input"}, constants=SaliencyParams()
)
