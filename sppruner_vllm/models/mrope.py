"""Model mixin for M-RoPE families: reduces after the encoder, gives kept tokens their original positions.

Runs in the worker. Every hook it overrides is one that vLLM's own video pruning uses, so runners V1 and V2 serve it
unchanged. docs/architecture.md, "vLLM's hooks".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank
from vllm.platforms import current_platform
from vllm.utils.gpu_sync_debug import gpu_sync_allowed

from sppruner_vllm import compat, positions
from sppruner_vllm.config import settings
from sppruner_vllm.errors import RowCountError
from sppruner_vllm.processor import METHOD, NUM_KEEP, QUERY_IDS, REHEARSAL
from sppruner_vllm.reduction import ImageTokens, reduce
from sppruner_vllm.timing import SelectionTimer

from .encode import cut, micro_batches
from .gate import ReducingMultiModalConfig, check_setup


class ReducedMRopeMixin:
    """Put before a family's own model class in the base-class list."""

    supports_multimodal_pruning = True

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
        self._timer = SelectionTimer() if get_tensor_model_parallel_rank() == 0 else None

    # Encoder output

    def embed_multimodal(self, **kwargs: Any) -> Any:
        keep = kwargs.pop(NUM_KEEP, None)
        query_ids, methods = kwargs.pop(QUERY_IDS, None), kwargs.pop(METHOD, None)
        if keep is None:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        grids = [tuple(grid) for grid in kwargs["image_grid_thw"].tolist()]
        rows = self._encode(kwargs, grids)
        budgets: list[int] = keep.tolist()
        names = [bytes(method.tolist()).decode() for method in methods]
        if REHEARSAL in names:
            self._rehearse(rows, grids)
        reduced = [index for index, budget in enumerate(budgets) if budget < rows[index].shape[0]]
        queries = dict(zip(reduced, self._embed_queries([query_ids[index] for index in reduced]), strict=True))
        for name in dict.fromkeys(names[index] for index in reduced):
            members = [index for index in reduced if names[index] == name]
            images = [
                ImageTokens(rows[index], self._merged_grid(grids[index]), queries[index], budgets[index])
                for index in members
            ]
            for index, packed in zip(members, self._select(images, name), strict=True):
                rows[index] = packed
        for index, budget in enumerate(budgets):
            if rows[index].shape[0] != budget:
                raise RowCountError(f"image has {budget} placeholders but {rows[index].shape[0]} rows")
        return tuple(rows)

    def _rehearse(self, rows: Sequence[Tensor], grids: Sequence[tuple[int, ...]]) -> None:
        """Let vLLM's memory profiling see the selection at its largest."""
        self._reduce(
            [
                ImageTokens(image, self._merged_grid(grid), None, (image.shape[0] + 1) // 2)
                for image, grid in zip(rows, grids, strict=True)
            ],
            settings().method,
        )

    def _encode(self, inputs: dict[str, Any], grids: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """The encoder's rows per image, (N, D) each, in micro-batches of unreduced tokens."""
        patches = [frames * height * width for frames, height, width in grids]
        merge = self._vision.spatial_merge_size**2
        sizes = [count // merge for count in patches]
        if self._whole_batch or sum(sizes) <= self._encoder_budget:
            return list(super().embed_multimodal(**inputs))  # type: ignore[misc]
        flat = {"pixel_values": patches, "image_embeds": sizes}
        rows: list[Tensor] = []
        for images in micro_batches(sizes, self._encoder_budget):
            rows.extend(super().embed_multimodal(**cut(inputs, images, flat)))  # type: ignore[misc]
        return rows

    def _select(self, images: list[ImageTokens], method: str) -> list[Tensor]:
        """Kept rows of each image with their position columns, (K, D + COLUMNS)."""
        if self._timer is None:
            return self._reduce(images, method)
        with self._timer.measure(method, images[0].rows.device):
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
