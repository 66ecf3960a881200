"""Videos of a request: what is asked of each, and, once vLLM's processor has sized it, what each of its frames keeps.

How long a video is only vLLM's own processing says. So its name in vLLM's caches holds what is asked, of which all else
follows with its pixels. docs/develop/algorithm.md, "Videos".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from cachetools import LRUCache
from vllm.multimodal.parse import DictEmbeddingItems, EmbeddingItems
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm import wire
from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import Videos
from sppruner_vllm.planning.accounting import VideoTokens
from sppruner_vllm.planning.plan import ReductionPlan, SkippedReason
from sppruner_vllm.planning.planner import Sent
from sppruner_vllm.planning.query import turn_queries
from sppruner_vllm.planning.scope import FirstQuestions
from sppruner_vllm.planning.videos import FrameGrid, VideoAsk, VideoPlan, ask_of_video, plan_video
from sppruner_vllm.recipes import get_recipe
from sppruner_vllm.reduction.frames import pixel_changes
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.request.handed_over import Telling
from sppruner_vllm.settings import settings

from .identity import question_name, told_apart, video_encoded_as, video_identities
from .pixels_cache import PixelsCache
from .plans import REMEMBERED, PlanningMixin
from .refusing import refusing
from .video_placeholders import can_be_placed


@dataclass(frozen=True, slots=True)
class AskedVideo:
    """One video of a request.

    ask: what is asked of it. identity: its key in vLLM's caches. name: the same for all that is asked of it, under
    which its pixels and its rows are kept; empty where they are not.
    told: name under which its selections are remembered, empty where nobody asked.
    """

    ask: VideoAsk
    identity: str
    name: str
    told: str


@dataclass(frozen=True, slots=True)
class SizedVideo:
    """What vLLM's processing said of a video.

    frames, tokens, positions: in an unreduced prompt, text between the frames apart.
    skipped_reason: why nothing of it is reduced; None where something is.
    """

    frames: int
    tokens: int
    positions: int
    skipped_reason: SkippedReason | None


class VideosMixin(PlanningMixin):
    """The part of ReductionProcessorMixin (processor.py) that is about videos."""

    @cached_property
    def _pixels(self) -> PixelsCache:
        # Pixels that are sent in shared memory would hold it for as long as they are kept.
        shared = self.info.ctx.get_mm_config().mm_tensor_ipc == "torch_shm"
        return PixelsCache(0 if shared else settings().pixels_cache_mib * 2**20)

    def forget_pixels(self) -> None:
        """Drop all pixels that are kept: vLLM drops its own, so that a UUID may stand for another picture."""
        self._pixels.clear()

    @cached_property
    def _sized(self) -> LRUCache[str, SizedVideo]:
        """By identity, for those that vLLM does not process again."""
        return LRUCache(maxsize=REMEMBERED)

    @cached_property
    def _changes(self) -> LRUCache[str, list[float]]:
        """By upstream's hash, for videos that are asked about again."""
        return LRUCache(maxsize=REMEMBERED)

    def _ask_videos(
        self,
        inputs: ProcessorInputs,
        request: ReductionRequest,
        keys: Sequence[str],
        known: FirstQuestions,
        parts: Sequence[int] | None,
        sent: Sequence[Sent],
        *,
        telling: Telling | None,
        profiling: bool,
    ) -> tuple[AskedVideo, ...]:
        """What is asked of each video.

        Args:
            keys: upstream's hash of each. parts: of a budget that all share; None where there is none.
            sent: the images beside them. telling: by what the selections are remembered.
            profiling: the request is vLLM's own.
        """
        if not keys:
            return ()
        if profiling:
            request = replace(request, keep_ratio=1.0)
        supported = self._can_reduce_videos(inputs, len(keys), sent)
        asked = supported and (request.video_ratio < 1 or parts is not None)
        places = self._video_places(inputs.prompt)
        queries = self._video_queries(inputs.prompt, places, request) if asked else [()] * len(keys)
        shared: Sequence[int | None] = [None] * len(keys) if parts is None else parts
        asks = [
            ask_of_video(key, request, query, settings(), known, unsupported=not supported, part=part)
            for key, query, part in zip(keys, queries, shared, strict=True)
        ]
        algorithm = self.info.ctx.get_mm_config().mm_hasher_algorithm
        kept = (settings().rows_cache_mib or settings().pixels_cache_mib) and not (profiling or _came_encoded(inputs))
        names = [video_encoded_as(algorithm, key) if kept else "" for key in keys]
        told = [telling.name_of_video(i) if telling and ask.reduces else "" for i, ask in enumerate(asks)]
        identities = told_apart(algorithm, video_identities(algorithm, asks), told)
        return tuple(map(AskedVideo, asks, identities, names, told))

    def _can_reduce_videos(self, inputs: ProcessorInputs, videos: int, sent: Sequence[Sent]) -> bool:
        """Whether tokens of a request's videos can be dropped.

        Args:
            sent: the images beside them; one of a single token could not be told from text (worker/positions.py).
        """
        return (
            self._orders_videos
            and not _came_encoded(inputs)
            and self._all_places_filled(inputs)
            and all(image.tokens > 1 for image in sent)
            and can_be_placed(inputs.prompt, self._video_places(inputs.prompt), videos)
        )

    @property
    def _orders_videos(self) -> bool:
        return self.family.reduces and self.family.videos is not None

    def _video_places(self, prompt: Sequence[int]) -> list[int]:
        token = self.family.media_tokens.get("video")
        return [index for index, one in enumerate(prompt) if one == token]

    def _video_queries(
        self, prompt: Sequence[int], places: Sequence[int], request: ReductionRequest
    ) -> list[tuple[int, ...]]:
        if not get_recipe(request.method).uses_query or request.focus_scope == "image":
            return [()] * len(places)
        most = settings().max_query_tokens
        if request.focus_query is None:
            return turn_queries(prompt, places, self.turns, most)
        spoken = tuple(token for token in self._encode(request.focus_query) if token not in self.turns.silent)
        return [spoken[-most:]] * len(places)

    def _video_orders(
        self, videos: Sequence[AskedVideo], output: Mapping[str, Any], *, profiling: bool
    ) -> list[wire.Order]:
        """What the worker is told of the videos that there are pixels of by now.

        Args:
            output: of vLLM's processor, of those videos.
        """
        facts, seconds = self._video_facts, output.get(self._video_facts.seconds)
        keys = [video.ask.key if video.ask.reduces else None for video in videos]
        orders = []
        for number, (video, (grid, changes)) in enumerate(zip(videos, self._sizes_in(output, keys), strict=True)):
            # Not looked for before the first request: vLLM processes videos of its own while workers are still cold.
            guarded = video.ask.reduces and video.ask.guarded
            plan = plan_video(video.ask, grid, changes, self._parts if guarded else None)
            positions = facts.extent(grid, 1.0 if seconds is None else float(seconds[number]))
            self._sized[video.identity] = SizedVideo(grid[0], plan.original, positions, plan.skipped_reason)
            orders.append(_order(plan, profiling, video.name, video.told))
        return orders

    def _sizes_in(
        self, output: Mapping[str, Any], keys: Sequence[str | None]
    ) -> Iterator[tuple[FrameGrid, list[float] | None]]:
        """Of each processed video its grid, and how much of each frame the one before did not show.

        Args:
            output: of vLLM's processor. keys: upstream's hash of each; None where nothing depends on its changes.
        """
        facts = self._video_facts
        grids = facts.grids(output)
        found = _pixels_of(output, facts, grids)
        pixels: Sequence[torch.Tensor | None] = [None] * len(grids) if found is None else found
        for key, grid, own in zip(keys, grids, pixels, strict=True):
            if key is None or own is None:
                yield grid, None
                continue
            if (known := self._changes.get(key)) is None:
                self._changes[key] = known = pixel_changes(own, grid[0], grid[1] * grid[2])
            yield grid, known

    @property
    def _video_facts(self) -> Videos:
        if self.family.videos is None:
            raise RowCountError("videos are planned of a family that serves them whole")
        return self.family.videos

    def _sizes_of(self, videos: Sequence[AskedVideo], placed: Sequence[int]) -> list[SizedVideo]:
        """Of each video; of one that is not remembered what was placed.

        Args:
            placed: placeholders of each in the prompt.
        """
        return [
            self._sized.get(video.identity) or SizedVideo(0, tokens, tokens, video.ask.whole)
            for video, tokens in zip(videos, placed, strict=True)
        ]

    def _refuse_beyond_bounds_with_videos(
        self,
        text: int,
        plans: Sequence[ReductionPlan],
        sent: Sequence[Sent],
        videos: Sequence[AskedVideo],
        sizes: Sequence[SizedVideo],
    ) -> None:
        """What is refused of images before anything is processed, of a request that has videos too.

        Args:
            text: tokens of the prompt that are of no image and no video.
        """
        reduced = [video.ask.reduces for video in videos]
        if not videos or not (any(reduced) or any(plan.reduces for plan in plans)):
            return
        grids = [image.grid if plan.resized is None else plan.resized for plan, image in zip(plans, sent, strict=True)]
        with refusing():
            self._bounds.refuse(
                text + sum(map(math.prod, grids)) + sum(size.tokens for size in sizes),
                positions=text + sum(map(self.family.extent, grids)) + sum(size.positions for size in sizes),
                videos=[size.tokens if one else 0 for size, one in zip(sizes, reduced, strict=True)],
            )


def video_tokens(videos: Sequence[AskedVideo], sizes: Sequence[SizedVideo], placed: Sequence[int]) -> list[VideoTokens]:
    """What is accounted of each video. Args: as `_sizes_of` takes and gives them."""
    return [_accounted(video.ask, size, tokens) for video, size, tokens in zip(videos, sizes, placed, strict=True)]


def _accounted(ask: VideoAsk, size: SizedVideo, placed: int) -> VideoTokens:
    if ask.whole is not None:
        return VideoTokens(placed, placed, 1.0, ask.whole, size.frames)
    came_to = ask.raised or ask.tokens is not None
    ratio = round(placed / size.tokens, 6) if came_to else ask.ratio
    scope = None if size.skipped_reason else ask.scope
    return VideoTokens(size.tokens, placed, ratio, size.skipped_reason, size.frames, scope, came_to)


def _came_encoded(inputs: ProcessorInputs) -> bool:
    return isinstance(inputs.mm_data_items["video"], DictEmbeddingItems | EmbeddingItems)


def _pixels_of(output: Mapping[str, Any], facts: Videos, grids: Sequence[FrameGrid]) -> Sequence[torch.Tensor] | None:
    """The pixels of each video; None where they came as embeddings."""
    pixels = output.get(facts.pixels)
    return None if pixels is None else pixels.split(facts.flat_inputs(grids)[facts.pixels])


def _order(plan: VideoPlan, profiling: bool, name: str, told: str) -> wire.Order:
    ids = torch.tensor(plan.query_ids, dtype=torch.int64)
    question = question_name(plan.query_ids) if settings().reads_questions else ""
    frames = plan.kept if plan.reduces else ()
    return wire.Order(plan.original, plan.retained, plan.stages, ids, profiling, name, question, told, frames)
