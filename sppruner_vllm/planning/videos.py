"""The plan for one video: how many visual tokens each of its frames keeps, and why not fewer.

How long a video is only vLLM's own processing says. So what is asked of it stands first, and names it in vLLM's caches;
the plan follows from that and from its pixels, and is made before the encoder runs, for a prompt may have a run of
placeholders for each frame. docs/develop/algorithm.md, "Videos".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import FEWEST_TOKENS, Settings
from sppruner_vllm.wire import MOST_TOKENS, StageOrder

from .frames import split
from .paying import Parts
from .plan import SkippedReason, retained_tokens
from .scope import FirstQuestions, Served

VIDEO_VERSION: Final = 1
"""Part of every reduced video's identity: raise it when the same request would keep other tokens of the same video."""

FLOOR_SHARE: Final = 0.25
"""What every frame keeps at least, as a share of what an even split would give it. Not tuned."""

FrameGrid = tuple[int, int, int]
"""(frames, height, width) of a video in visual tokens."""


@dataclass(frozen=True, slots=True)
class VideoAsk:
    """What is asked of one video, before its size is known.

    key: names the video itself. ratio: of its tokens, in (0, 1]. fewest: tokens that it keeps in any case.
    method: selects within each frame. query_ids: of its question, empty where the selection does not look at one.
    whole: why it stays whole whatever its size; None where that is open.
    guarded: it stays whole where selecting takes longer than it saves.
    scope: whom the selection serves; None where no question could steer it.
    raised: the operator's ratio for shared selections stands in place of the request's.
    tokens: its part of a budget that all share, which wins over the ratio; None where there is none.
    """

    key: str
    ratio: float
    fewest: int
    method: str
    query_ids: tuple[int, ...] = ()
    whole: SkippedReason | None = None
    guarded: bool = False
    scope: Served | None = None
    raised: bool = False
    tokens: int | None = None

    @property
    def reduces(self) -> bool:
        return self.whole is None

    @property
    def budget(self) -> tuple[float | int, int, str, bool]:
        """All that its plan depends on besides its pixels and its question."""
        return self.ratio if self.tokens is None else self.tokens, self.fewest, self.method, self.guarded


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """The decision for one video.

    grid: of the whole video. kept: tokens of each frame, at least two where it has them: a row that stands alone could
        not be told from the only one of the next frame (worker/positions.py). method, query_ids: as asked.
    skipped_reason: why nothing is reduced, None when something is.
    """

    grid: FrameGrid
    kept: tuple[int, ...]
    method: str
    query_ids: tuple[int, ...]
    skipped_reason: SkippedReason | None

    @property
    def original(self) -> int:
        return math.prod(self.grid)

    @property
    def retained(self) -> int:
        return sum(self.kept)

    @property
    def reduces(self) -> bool:
        return self.skipped_reason is None

    @property
    def stages(self) -> tuple[StageOrder, ...]:
        """What the worker does; none where the video stays whole."""
        return (StageOrder("rows", self.method, self.retained),) if self.reduces else ()


def ask_of_video(
    key: str,
    request: ReductionRequest,
    query_ids: tuple[int, ...],
    limits: Settings,
    known: FirstQuestions,
    *,
    unsupported: bool = False,
    part: int | None = None,
) -> VideoAsk:
    """What a request asks of one of its videos.

    A ratio for all its pictures is one for its videos, and what they share they share with its videos; any other budget
    is for pictures alone and leaves videos to the operator's default. A video has no smaller form: a method that makes
    one selects alone, or does nothing.

    Args:
        key, query_ids: of the video. limits: the operator's settings. known: what videos were asked before.
        unsupported: tokens of it cannot be dropped. part: tokens of a budget that all share.
    """
    recipe = get_recipe(request.method)
    method = recipe.selects or request.method
    guarded = part is None and request.videos_may_stay_whole
    ask = VideoAsk(key, request.video_ratio, limits.min_tokens, method, guarded=guarded, tokens=part)
    if request.keeps_videos:
        return replace(ask, whole="keep_ratio_is_1")
    if unsupported or recipe.selects is None:
        return replace(ask, whole="unsupported_input")
    if not recipe.uses_query:
        return ask
    if request.focus_scope == "auto":
        # What all share nothing may raise.
        at_least = 0.0 if part is not None else min(limits.shared_keep_ratio or 0.0, request.bounds.high)
        shared = replace(ask, ratio=max(ask.ratio, at_least), scope="image", raised=at_least > ask.ratio)
        # What would share a selection counts as one.
        if not known.is_first(f"{key} {method} {shared.budget[0]} of a video", query_ids):
            return replace(shared, whole="keep_ratio_is_1") if shared.raised and shared.ratio == 1 else shared
    return replace(ask, query_ids=query_ids, scope="question" if query_ids else "image")


def plan_video(
    ask: VideoAsk, grid: FrameGrid, changes: Sequence[float] | None, parts: Parts | None = None
) -> VideoPlan:
    """The plan of a video whose size is known.

    Args:
        changes: of each frame, how much of it the frame before did not show, in [0, 1]; None where that is not known,
            which shares the budget evenly.
        parts: what the parts of a prefill take; without them every reduction counts as paying.
    """
    frames, height, width = grid
    total, each = math.prod(grid), height * width
    whole = VideoPlan(grid, (each,) * frames, ask.method, (), ask.whole)
    if ask.whole is not None:
        return whole
    fewest = min(each, FEWEST_TOKENS)
    asked = retained_tokens(total, ask.ratio, floor=ask.fewest) if ask.tokens is None else min(total, ask.tokens)
    budget = max(frames * fewest, asked)
    if budget == total:
        return replace(whole, skipped_reason="image_too_small")
    if max(budget, each) > MOST_TOKENS:
        return replace(whole, skipped_reason="unsupported_input")
    floor = max(fewest, math.floor(FLOOR_SHARE * budget / frames))
    kept = split(budget, [1.0] * frames if changes is None else changes, floor, each)
    plan = VideoPlan(grid, tuple(kept), ask.method, ask.query_ids, None)
    if ask.guarded and parts is not None and not _pays(plan, parts):
        return replace(whole, skipped_reason="would_not_pay")
    return plan


def _pays(plan: VideoPlan, parts: Parts) -> bool:
    """Whether selecting in all frames takes less than the prompt tokens that it spares; so where that is not known."""
    if plan.method != parts.method:
        return True
    each = plan.original // len(plan.kept)
    return sum(parts.selection(each, kept) for kept in plan.kept) < (plan.original - plan.retained) * parts.prefill
