"""Model mixin: reduces behind the encoder, as the order of each image says.

Runs in the worker. docs/develop/architecture.md, "vLLM's hooks".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.utils.import_utils import resolve_obj_by_qualname

from sppruner_vllm.compat.workers import call_when_warm, let_runners_ask, let_workers_forget_rows, let_workers_tell
from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import Family, Layout, Tap
from sppruner_vllm.heap import tend_heap
from sppruner_vllm.owned import owned
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import ImageTokens, Selection
from sppruner_vllm.settings import settings
from sppruner_vllm.told import TELL
from sppruner_vllm.wire import Order, decode, decode_videos

from . import positions
from .encoder import Encoder
from .kept_rows import KeptRows
from .measuring import measure
from .questions import WordEmbeddings
from .reading import reader_of
from .rows_cache import RowsCache
from .selecting import Selector, select_in_pieces
from .served import overheard_for, usual_selection
from .stages import among_rows, inside_encoder
from .startup import ReducingMultiModalConfig, check_setup
from .telling import Memory, Remembered, Stopwatch
from .video_encoder import VideoEncoder
from .videos import VideoReducer


class ReducingMixin:
    """Put before a family's own model class in the base-class list.

    The family's class sets `supports_multimodal_pruning` itself: vLLM caches such flags by the file they stand in.
    """

    family_of: ClassVar[type[Family]]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        self.family = self.family_of(vllm_config.model_config.hf_config)
        if self.family.reduces:
            check_setup(vllm_config, self.family.heard, self.family.cut)
            # Before the parent builds its rotary embedding: some families size it by what this says.
            let_runners_ask(vllm_config.model_config.multimodal_config, ReducingMultiModalConfig)
            let_workers_tell(TELL)
            if settings().throughput_guard:
                call_when_warm(resolve_obj_by_qualname(vllm_config.parallel_config.worker_cls), measure)
        tend_heap(settings().heap_trim_seconds)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        # The parent must return plain rows: the columns are ours.
        self.is_multimodal_pruning_enabled = False
        self._encoder_budget: int = vllm_config.scheduler_config.max_num_batched_tokens
        lora = vllm_config.lora_config
        # A LoRA mapping covers the whole batch in one piece.
        self._whole_batch = lora is not None and lora.enable_tower_connector_lora
        self._encoder = Encoder(self.family, self, super().embed_multimodal)  # type: ignore[misc]
        self._rows = KeptRows(self._rows_cache())
        # All ranks select alike; the first one tells.
        self._memory = Memory() if get_tensor_model_parallel_rank() == 0 else None
        words = WordEmbeddings(self)
        self._selector = Selector(words, reader_of(self, words, self.family, vllm_config.model_config))
        self._videos = self._video_reducer()

    def _rows_cache(self) -> RowsCache | None:
        """The memory of this worker's encoder, if it is to have one."""
        if not self.family.reduces:
            return None
        let_workers_forget_rows()
        # What an adapter of the tower makes of a picture is another adapter's business.
        if not settings().rows_cache_mib or self._whole_batch:
            return None
        return RowsCache(settings().rows_cache_mib * 2**20)

    def _video_reducer(self) -> VideoReducer | None:
        """What reduces videos, if the family has any that can be."""
        facts = self.family.videos
        if facts is None or not self.family.reduces:
            return None
        encoder = VideoEncoder(facts, lambda: self._encoder.taps, super().embed_multimodal)  # type: ignore[misc]
        return VideoReducer(self.family, facts, encoder, self._rows, self._selector, self._remember)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        orders, videos = decode(kwargs), decode_videos(kwargs)
        budget = None if self._whole_batch else self._encoder_budget
        if videos and self._videos is not None:
            return self._videos.run(kwargs, videos, budget, self._profile_frames)
        if not orders:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        grids, layouts = self.family.grids(kwargs), self.family.layouts(kwargs)
        wanted = [_overheard_for(order, grid, self.family.heard) for order, grid in zip(orders, grids, strict=True)]
        kept: dict[int, Tensor] = {}
        for batch in self._rows.run(self._encoder, kwargs, orders, grids, wanted, budget):
            images = batch.images
            reduced = self._reduce_batch(
                batch.rows,
                batch.taps,
                [grids[i] for i in images],
                [orders[i] for i in images],
                [layouts[i] for i in images],
                spared=batch.spared,
            )
            kept.update(zip(images, reduced, strict=True))
        return tuple(kept[index] for index in range(len(orders)))

    def _reduce_batch(
        self,
        rows: list[Tensor],
        taps: Sequence[Mapping[str, Tensor]],
        grids: Sequence[Grid],
        orders: Sequence[Order],
        layouts: Sequence[Layout | None],
        *,
        spared: bool = False,
    ) -> list[Tensor]:
        """The rows each image keeps: packed where it was reduced, as the encoder gave them where not.

        Args:
            rows: (N, D) of each image. taps: what was overheard of each, by the names of `Tap`.
            spared: the encoder did not run for them.

        Raises:
            RowCountError: an image has fewer rows than placeholders.
        """
        if any(order.profiling for order in orders):
            self._profile(rows, taps, grids, layouts)
        among = [among_rows(order, len(image)) for order, image in zip(orders, rows, strict=True)]
        stages = {index: stage for index, stage in enumerate(among) if stage is not None}
        # As a view, an unreduced image would keep the dropped rows of its batch mates in memory.
        kept = [owned(image) if stages and index not in stages else image for index, image in enumerate(rows)]
        questions = self._selector.asked(
            [orders[i].query_ids for i in stages],
            [stage.method for stage in stages.values()],
            [orders[i].question for i in stages],
        )
        asked = dict(zip(stages, questions, strict=True))
        for method in dict.fromkeys(stage.method for stage in stages.values()):
            chosen = [index for index, stage in stages.items() if stage.method == method]
            images = [
                ImageTokens(rows[i], grids[i], budget=stages[i].budget, **asked[i], **_for_methods(taps[i]))
                for i in chosen
            ]
            watch = Stopwatch(rows[0].device) if any(orders[i].told for i in chosen) else None
            with self._selector.timed(method, rows[0].device):
                selections = self._select(images, method, [layouts[i] for i in chosen])
                for index, packed in zip(chosen, self._pack(images, selections), strict=True):
                    kept[index] = packed
            if watch is not None:
                watch.stop()
                through = [taps[i].get("through") for i in chosen]
                self._remember([orders[i].told for i in chosen], images, selections, through, spared, watch)
        for result, order in zip(kept, orders, strict=True):
            if len(result) != order.placed:
                raise RowCountError(f"image has {order.placed} placeholders but {len(result)} rows")
        return kept

    def _select(self, images: list[ImageTokens], method: str, layouts: Sequence[Layout | None]) -> list[Selection]:
        """The selection of each image; of its rows it sees what compares with words."""
        seen = [replace(image, rows=image.rows[:, : self.family.word_width]) for image in images]
        return select_in_pieces(lambda parts: self._selector.select(parts, method), seen, layouts)

    def _pack(self, images: list[ImageTokens], selections: list[Selection]) -> list[Tensor]:
        return [
            positions.pack(
                image.rows.index_select(0, selection.kept), selection.kept, self.family.packing_width(image.grid)
            )
            for image, selection in zip(images, selections, strict=True)
        ]

    def _remember(
        self,
        names: Sequence[str],
        images: Sequence[ImageTokens],
        selections: Sequence[Selection],
        through: Sequence[Tensor | None],
        spared: bool,
        watch: Stopwatch,
    ) -> None:
        """Hold the selections that someone asked to be told of."""
        if self._memory is None:
            return
        for name, image, selection, went in zip(names, images, selections, through, strict=True):
            if name:
                self._memory.remember(name, Remembered(image.grid, selection, went, spared, watch))

    def tell(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The selections remembered under these names, by name, as `Told.as_message` has them; once each."""
        return {} if self._memory is None else self._memory.tell(names)

    def rehearse(self, images: list[ImageTokens], layouts: Sequence[Layout | None]) -> object:
        """Select and pack as for requests that name no method; for nobody."""
        return self._pack(images, self._select(images, usual_selection(), layouts))

    def _profile(
        self,
        rows: Sequence[Tensor],
        taps: Sequence[Mapping[str, Tensor]],
        grids: Sequence[Grid],
        layouts: Sequence[Layout | None],
    ) -> None:
        """Let vLLM's memory profiling see the selection at its largest, beside all rows that will be kept."""
        if self._rows.cache is not None:
            self._rows.cache.reserve(rows[0].device)
        longest = torch.zeros(settings().max_query_tokens, dtype=torch.int64, device=rows[0].device)
        asked = self._selector.rehearsed(longest, usual_selection())
        images = [
            ImageTokens(image, grid, budget=max(1, image.shape[0] - 1), **asked, **_for_methods(taps[index]))
            for index, (image, grid) in enumerate(zip(rows, grids, strict=True))
        ]
        self.rehearse(images, layouts)

    def _profile_frames(
        self, frames: Sequence[Tensor], taps: Sequence[Mapping[str, Tensor]], grids: Sequence[Grid]
    ) -> None:
        """The same of a video's frames."""
        self._profile(frames, taps, grids, [None] * len(frames))

    # What kept rows depend on

    def forget_rows(self) -> None:
        """Drop all that is kept: the model gives others from now on, or the memory is wanted."""
        self._selector.forget()
        if self._memory is not None:
            self._memory.clear()
        if self._rows.cache is not None:
            self._rows.cache.clear()

    def load_weights(self, weights: Any) -> Any:
        """Weights may change under a running model too."""
        self.forget_rows()
        return super().load_weights(weights)  # type: ignore[misc]

    # Paths that would bypass or miscount the reduction

    def get_mm_lora_token_counts(self, *, modality: str, mm_kwargs: Any, num_mm_embeds: int) -> tuple[int, int | None]:
        """Tokens the tower and the connector really see: those before reduction."""
        tokens = None if mm_kwargs is None else self.family.tokens_of(mm_kwargs, modality)
        if tokens is not None:
            num_mm_embeds = tokens
        elif mm_kwargs is None and modality == "image" and self._whole_batch and self.family.reduces:
            num_mm_embeds = int(num_mm_embeds / settings().min_keep_ratio) + 1
        return super().get_mm_lora_token_counts(  # type: ignore[misc,no-any-return]
            modality=modality, mm_kwargs=mm_kwargs, num_mm_embeds=num_mm_embeds
        )


def _for_methods(taps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was overheard that methods read, by the names of `ImageTokens`."""
    return {name: tap for name, tap in taps.items() if name != "through"}


def _overheard_for(order: Order, grid: Grid, heard: frozenset[Tap]) -> frozenset[Tap]:
    """What has to be overheard in the encoder for one image, and for who asked to be told of it.

    Args: heard: what can be of this family.
    """
    told = not order.profiling and order.told and inside_encoder(order)
    return overheard_for(order, math.prod(grid), heard) | frozenset[Tap]({"through"} if told else ())
