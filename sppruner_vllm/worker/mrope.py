"""Model mixin for M-RoPE families: reduces after the encoder, gives kept tokens their original positions.

Runs in the worker. It overrides the hooks that vLLM's own video pruning goes through, so runners V1 and V2 serve it
without being changed. docs/develop/architecture.md, "vLLM's hooks".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.platforms import current_platform
from vllm.utils.gpu_sync_debug import gpu_sync_allowed

from sppruner_vllm import compat
from sppruner_vllm.api.processor import METHOD, NUM_KEEP, QUERY_IDS, REHEARSAL
from sppruner_vllm.errors import RowCountError
from sppruner_vllm.recipes import DEFAULT_SELECTION, get_recipe
from sppruner_vllm.reduction import ImageTokens, get_method, reduce
from sppruner_vllm.settings import settings
from sppruner_vllm.worker import positions
from sppruner_vllm.worker.attention import ColumnAttention
from sppruner_vllm.worker.micro_batches import cut, micro_batches
from sppruner_vllm.worker.startup import ReducingMultiModalConfig, check_setup
from sppruner_vllm.worker.timing import SelectionTimer


@dataclass(frozen=True, slots=True)
class _Plan:
    """The processor's plan as it arrives. budget: rows to keep. query: (T,) int64 token ids, on the device."""

    budget: int
    method: str
    query: Tensor


class ReducedMRopeMixin:
    """Put before a family's own model class in the base-class list.

    The family's class sets `supports_multimodal_pruning` itself: vLLM caches such flags by the file they stand in.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        check_setup(vllm_config)
        # Before the parent builds its rotary embedding: some families size it by this gate.
        vllm_config.model_config.multimodal_config.__class__ = ReducingMultiModalConfig
        if current_platform.is_cpu():
            compat.open_cpu_runner_gate()
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        # The parent must return plain rows: the columns are ours.
        self.is_multimodal_pruning_enabled = False
        self._vision: Any = vllm_config.model_config.hf_config.vision_config
        self._width: int = vllm_config.model_config.get_inputs_embeds_size()
        self._encoder_budget: int = vllm_config.scheduler_config.max_num_batched_tokens
        lora = vllm_config.lora_config
        # A LoRA mapping covers the whole batch in one piece.
        self._whole_batch = lora is not None and lora.enable_tower_connector_lora
        self._text_mean: Tensor | None = None
        self._column_attention: ColumnAttention | None = None
        self._timer = SelectionTimer() if get_tensor_model_parallel_rank() == 0 else None

    # Encoder output

    def embed_multimodal(self, **kwargs: Any) -> Any:
        keep = kwargs.pop(NUM_KEEP, None)
        query_ids, methods = kwargs.pop(QUERY_IDS, None), kwargs.pop(METHOD, None)
        if keep is None:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        grids = [tuple(grid) for grid in kwargs["image_grid_thw"].tolist()]
        plans = [
            _Plan(budget, bytes(method.tolist()).decode(), query)
            for budget, method, query in zip(keep.tolist(), methods, query_ids, strict=True)
        ]
        rows: list[Tensor] = []
        for images, part in self._parts(kwargs, grids):
            with self._watch(grids[images], plans[images]) as attention:
                encoded = self._encode_batch(part)
            rows += self._reduce_batch(encoded, attention, grids[images], plans[images])
        return tuple(rows)

    def _parts(
        self, inputs: dict[str, Any], grids: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[slice, dict[str, Any]]]:
        """The encoder's inputs in micro-batches of unreduced tokens, and the images of each."""
        patches = [math.prod(grid) for grid in grids]
        sizes = [self._tokens(grid) for grid in grids]
        if self._whole_batch or sum(sizes) <= self._encoder_budget:
            yield slice(0, len(sizes)), inputs
            return
        flat = {"pixel_values": patches, "image_embeds": sizes}
        for images in micro_batches(sizes, self._encoder_budget):
            yield images, cut(inputs, images, flat)

    def _watch(self, grids: Sequence[tuple[int, ...]], plans: Sequence[_Plan]) -> AbstractContextManager[list[Tensor]]:
        """Column attention of the images that are encoded inside the block; nothing where no one would look at it."""
        wanted = settings().saliency_attention and any(
            plan.method == REHEARSAL or (plan.budget < self._tokens(grid) and _looks_at_attention(plan.method))
            for plan, grid in zip(plans, grids, strict=True)
        )
        if not wanted:
            return nullcontext([])
        if self._column_attention is None:
            self._column_attention = ColumnAttention(self.visual)  # type: ignore[attr-defined]
        return self._column_attention.watching(grids)

    def _encode_batch(self, inputs: dict[str, Any]) -> list[Tensor]:
        return list(super().embed_multimodal(**inputs))  # type: ignore[misc]

    def _reduce_batch(
        self,
        rows: list[Tensor],
        attention: list[Tensor],
        grids: Sequence[tuple[int, ...]],
        plans: Sequence[_Plan],
    ) -> list[Tensor]:
        """The rows each image keeps: packed where it was reduced, as the encoder gave them where not.

        Args:
            rows: (N, D) of each image. attention: (N,) of each, or empty.

        Raises:
            RowCountError: an image has fewer rows than placeholders.
        """
        seen: Sequence[Tensor | None] = attention or [None] * len(rows)
        if any(plan.method == REHEARSAL for plan in plans):
            self._rehearse(rows, seen, grids)
        reduced = [index for index, plan in enumerate(plans) if plan.budget < rows[index].shape[0]]
        # As a view, an unreduced image would keep the dropped rows of its batch mates in memory.
        kept = [image.clone() if reduced and index not in reduced else image for index, image in enumerate(rows)]
        queries = dict(zip(reduced, self._embed_queries([plans[index].query for index in reduced]), strict=True))
        for name in dict.fromkeys(plans[index].method for index in reduced):
            members = [index for index in reduced if plans[index].method == name]
            images = [
                ImageTokens(
                    rows[index], self._merged_grid(grids[index]), queries[index], plans[index].budget, seen[index]
                )
                for index in members
            ]
            for index, packed in zip(members, self._select(images, name), strict=True):
                kept[index] = packed
        for image, plan in zip(kept, plans, strict=True):
            if image.shape[0] != plan.budget:
                raise RowCountError(f"image has {plan.budget} placeholders but {image.shape[0]} rows")
        return kept

    def _rehearse(
        self, rows: Sequence[Tensor], attention: Sequence[Tensor | None], grids: Sequence[tuple[int, ...]]
    ) -> None:
        """Let vLLM's memory profiling see the selection at its largest."""
        device = rows[0].device
        (query,) = self._embed_queries([torch.zeros(settings().max_query_tokens, dtype=torch.int64, device=device)])
        images = [
            ImageTokens(image, self._merged_grid(grid), query, max(1, image.shape[0] - 1), seen)
            for image, seen, grid in zip(rows, attention, grids, strict=True)
        ]
        self._reduce(images, get_recipe(settings().method).selects or DEFAULT_SELECTION)

    def _select(self, images: list[ImageTokens], method: str) -> list[Tensor]:
        """Kept rows of each image with their position columns, (K, D + COLUMNS)."""
        device = images[0].rows.device
        with nullcontext() if self._timer is None else self._timer.measure(method, device):
            return self._reduce(images, method)

    def _reduce(self, images: list[ImageTokens], method: str) -> list[Tensor]:
        selections = reduce(images, method, text_mean=self._mean_text_embedding(images))
        return [
            positions.pack(image.rows.index_select(0, selection.kept), selection.kept, image.grid[1])
            for image, selection in zip(images, selections, strict=True)
        ]

    def _merged_grid(self, grid: tuple[int, ...]) -> tuple[int, int]:
        merge = self._vision.spatial_merge_size
        return grid[1] // merge, grid[2] // merge

    def _tokens(self, grid: tuple[int, ...]) -> int:
        return math.prod(grid) // int(self._vision.spatial_merge_size) ** 2

    def _embed_queries(self, ids: Sequence[Tensor]) -> list[Tensor | None]:
        """Input embeddings of each query, (T, D) or None for an empty one; one look-up for all."""
        lengths = [query.numel() for query in ids]
        if not sum(lengths):
            return [None] * len(lengths)
        embedded = self._embed_text(torch.cat([query.flatten() for query in ids])).split(lengths)
        return [query if query.numel() else None for query in embedded]

    def _embed_text(self, ids: Tensor) -> Tensor:
        return cast("Tensor", self.get_language_model().embed_input_ids(ids))  # type: ignore[attr-defined]

    def _mean_text_embedding(self, images: Sequence[ImageTokens]) -> Tensor | None:
        """Mean of the embedding table, (D,) float32: the offset all text shares. None when no image has a query."""
        if all(image.query is None for image in images):
            return None
        if self._text_mean is None:
            size = self.get_language_model().config.vocab_size  # type: ignore[attr-defined]
            total = torch.zeros(self._width, dtype=torch.float64, device=images[0].rows.device)
            for ids in torch.arange(size, device=total.device).split(8192):
                total += self._embed_text(ids).sum(0, dtype=torch.float64)
            self._text_mean = (total / size).float()
        return self._text_mean

    # Positions

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[Tensor, int]:
        spans = list(self._spans(mm_features))
        return positions.initial_positions(len(input_tokens), spans)

    def _spans(self, features: Iterable[Any]) -> Iterable[positions.MediaSpan]:
        ordered = sorted(features, key=lambda feature: feature.mm_position.offset)
        grids = self.iter_mm_grid_thw(ordered)  # type: ignore[attr-defined]
        for feature, (offset, frames, height, width, step) in zip(ordered, grids, strict=True):
            yield positions.MediaSpan(offset, feature.mm_position.length, (frames, height, width), step)

    def recompute_mrope_positions(
        self,
        input_ids: list[int] | Tensor,
        multimodal_embeddings: Sequence[Tensor],
        mrope_positions: Tensor,
        num_computed_tokens: int,
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        placed = positions.place_rows(mrope_positions, multimodal_embeddings, self._width, num_computed_tokens)
        # The last token is text or an unreduced image's: its position never changes. Runners want a plain integer.
        with gpu_sync_allowed():
            delta = int(mrope_positions[:, -1].max()) + 1 - mrope_positions.shape[1]
        return positions.unpack(multimodal_embeddings, self._width), placed, delta

    def get_model_state_cls(self) -> Any:
        """Runner V2's state, imported by the worker that runs it."""
        from sppruner_vllm.worker.runner_v2 import ReducingModelState

        return ReducingModelState

    # Paths that would bypass or miscount the reduction

    def get_encoder_cudagraph_config(self) -> Any:
        """No modality: a captured graph would return the encoder's rows unreduced."""
        return replace(super().get_encoder_cudagraph_config(), modalities=[])  # type: ignore[misc]

    def get_mm_lora_token_counts(self, *, modality: str, mm_kwargs: Any, num_mm_embeds: int) -> tuple[int, int | None]:
        """Tokens the tower and the connector really see: those before reduction."""
        grid = None if mm_kwargs is None else mm_kwargs.get(f"{modality}_grid_thw")
        if grid is not None:
            num_mm_embeds = int(grid.data.prod()) // self._vision.spatial_merge_size**2
        elif modality == "image" and self._whole_batch:
            num_mm_embeds = int(num_mm_embeds / settings().min_keep_ratio) + 1
        return super().get_mm_lora_token_counts(  # type: ignore[misc,no-any-return]
            modality=modality, mm_kwargs=mm_kwargs, num_mm_embeds=num_mm_embeds
        )


def _looks_at_attention(method: str) -> bool:
    """Whether a selection method reads `ImageTokens.attention`; one that does not say may."""
    return bool(getattr(get_method(method), "uses_attention", True))
