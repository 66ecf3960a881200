"""The plan for one image: how many visual tokens it keeps after each stage, and why not fewer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import FEWEST_TOKENS, Settings
from sppruner_vllm.wire import StageOrder

from .scope import Served
from .smaller import Grid

ALGORITHM_VERSION: Final = 7
"""Part of every reduced image's identity: raise it when the same plan would select other tokens."""

SkippedReason = Literal["keep_ratio_is_1", "image_too_small", "unsupported_input", "would_not_pay"]


@dataclass(frozen=True, slots=True)
class ReductionPlan:
    """The decision for one image, taken before it is encoded.

    original, retained: visual tokens as sent and in the prompt, 1 <= retained <= original.
    query_ids: token ids of the query, empty when the selection does not look at one.
    skipped_reason: why nothing is reduced, None when something is.
    resized: (height, width) in visual tokens of the smaller image that is encoded instead; None when there is none.
    stages: what the worker does, in order.
    scope: whom the selection serves; None where no question could steer it.
    raised: the operator's budget for shared selections stands in place of the request's.
    ratio: the fraction that was asked for; None for an absolute budget.
    """

    original: int
    retained: int
    method: str
    query_ids: tuple[int, ...]
    skipped_reason: SkippedReason | None
    resized: Grid | None = None
    stages: tuple[StageOrder, ...] = ()
    scope: Served | None = None
    raised: bool = False
    ratio: float | None = None

    @property
    def reduces(self) -> bool:
        return self.retained < self.original

    @property
    def encoded(self) -> int:
        """Visual tokens that the encoder gives, before the worker drops any."""
        return self.original if self.resized is None else math.prod(self.resized)


def retained_tokens(total: int, keep_ratio: float, *, floor: int = FEWEST_TOKENS) -> int:
    """Number of visual tokens an image keeps.

    Rounds up, so that a ratio never keeps less than it says, and never goes below `floor`: position recovery needs two
    tokens to tell neighbouring images apart (docs/develop/algorithm.md, "Positions").

    Args:
        total: visual tokens after the encoder's spatial merge, at least 1.
        keep_ratio: fraction in (0, 1]; already validated.
        floor: fewest tokens any image keeps.

    Returns:
        Count in [min(floor, total), total].
    """
    return min(total, max(floor, math.ceil(total * keep_ratio - 1e-9)))


def kept_within(original: int, request: ReductionRequest, limits: Settings) -> tuple[int, int]:
    """Fewest and most tokens that an image may keep of `original`, whatever budget is asked for."""
    low, high = max(limits.min_keep_ratio, request.bounds.low), min(limits.max_keep_ratio, request.bounds.high)
    return (
        retained_tokens(original, low, floor=limits.min_tokens),
        retained_tokens(original, high, floor=limits.min_tokens),
    )


def plan_image(
    original: int,
    request: ReductionRequest,
    query_ids: tuple[int, ...],
    limits: Settings,
    *,
    at_least: float | None = None,
) -> ReductionPlan:
    """The plan for an image of `original` visual tokens.

    An absolute budget is held within the ratio bounds of the operator and of the request, so that it opens no way
    around them.

    Args:
        original: visual tokens of the unreduced image, at least 1.
        request: validated request fields.
        query_ids: query tokens of this image; dropped when nothing is reduced.
        limits: the operator's settings.
        at_least: ratio that is kept even where the request asks for less.
    """
    floor = limits.min_tokens
    if request.keep_tokens is None:
        retained = retained_tokens(original, request.keep_ratio, floor=floor)
    else:
        least, most = kept_within(original, request, limits)
        retained = min(most, max(least, request.keep_tokens))
    at_least = None if at_least is None else min(at_least, request.bounds.high)
    asked, shared = retained, 0 if at_least is None else retained_tokens(original, at_least, floor=floor)
    retained = max(asked, shared)
    if retained < original:
        ratio = request.asked_ratio
        return ReductionPlan(original, retained, request.method, query_ids, None, raised=retained > asked, ratio=ratio)
    whole = unreduced(original, request, "keep_ratio_is_1" if request.keeps_all or at_least == 1 else "image_too_small")
    return replace(whole, raised=retained > asked)


def unreduced(original: int, request: ReductionRequest, reason: SkippedReason) -> ReductionPlan:
    """The plan that keeps every token, and why."""
    return ReductionPlan(original, original, request.method, (), reason, ratio=request.asked_ratio)
