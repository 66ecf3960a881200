"""Comparator `relevance`: the K tokens most like the question, the plain way.

No entropy filter, no smoothing, no gate: the bar for what `relevance.py` adds to plain likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.core.cosine import mean_text_cosine, min_max, plain_directions, text_directions
from sppruner_vllm.reduction.core.method import Method
from sppruner_vllm.reduction.core.ranking import by_priority, in_groups
from sppruner_vllm.reduction.core.types import ImageTokens, Selection

from . import uniform


def select(images: Sequence[ImageTokens], text_mean: Tensor | None, params: object) -> list[Selection]:
    """Top K by r_n = mean_t cos(q_t, x_n), positive sign: the most alike are kept.

    With a text mean both sides are centred, the query by it and the rows by their image's mean; without one neither is.
    An image without a query has nothing to be relevant to and gets the lattice of `uniform`.
    """

    def choose(batch: Batch) -> list[Selection]:
        units = plain_directions(batch.rows) if text_mean is None else centre(batch.rows, batch).units
        relevant = mean_text_cosine(units, text_directions(batch, text_mean), batch)
        return by_priority(batch, relevant, relevance=min_max(relevant, batch, flat=0.0))

    asked = [image for image in images if image.words]
    answers = iter(in_groups(asked, choose))
    bare = iter(uniform.select([image for image in images if not image.words], text_mean, params))
    return [next(answers if image.words else bare) for image in images]


METHOD: Final = Method("relevance", select=select, needs={"query"})
