"""Model mixin: reduces behind the encoder, as the order of each image says.

Runs in the worker. docs/develop/architecture.md, "vLLM's hooks".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from vllm.config import VllmConfig

from sppruner_vllm.compat import let_runners_ask
from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import Family
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import ImageTokens, Need
from sppruner_vllm.settings import settings
from sppruner_vllm.wire import Order, StageOrder, decode

from . import positions
from .encoder import Encoder
from .selecting import Selector
from .served import overheard, overheard_by_requests, usual_selection
from .startup import ReducingMultiModalConfig, check_setup
from .taps import Tapped


class ReducingMixin:
    """Put before a family's own model class in the base-class list.

    The family's class sets `supports_multimodal_pruning` itself: vLLM caches such flags by the file they stand in.
    """

    family_of: ClassVar[type[Family]]

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        self.family = self.family_of(vllm_config.model_config.hf_config)
        if self.family.reduces:
            check_setup(vllm_config, self.family.heard)
            # Before the parent builds its rotary embedding: some families size it by what this says.
            let_runners_ask(vllm_config.model_config.multimodal_config, ReducingMultiModalConfig)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        # The parent must return plain rows: the columns are ours.
        self.is_multimodal_pruning_enabled = False
        self._encoder_budget: int = vllm_config.scheduler_config.max_num_batched_tokens
        lora = vllm_config.lora_config
        # A LoRA mapping covers the whole batch in one piece.
        self._whole_batch = lora is not None and lora.enable_tower_connector_lora
        self._encoder = Encoder(self.family, self, super().embed_multimodal)  # type: ignore[misc]
        self._selector = Selector(self)

    def embed_multimodal(self, **kwargs: Any) -> Any:
        orders = decode(kwargs)
        if not orders:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        grids = self.family.grids(kwargs)
        wanted = [_overheard_for(order, grid) for order, grid in zip(orders, grids, strict=True)]
        rows: list[Tensor] = []
        for part in self._encoder.run(kwargs, wanted, None if self._whole_batch else self._encoder_budget):
            rows += self._reduce_batch(part.rows, part.tapped, grids[part.images], orders[part.images])
        return tuple(rows)

    def _reduce_batch(
        self, rows: list[Tensor], tapped: Tapped, grids: Sequence[Grid], orders: Sequence[Order]
    ) -> list[Tensor]:
        """The rows each image keeps: packed where it was reduced, as the encoder gave them where not.

        Args:
            rows: (N, D) of each image. tapped: what was overheard of them.

        Raises:
            RowCountError: an image has fewer rows than placeholders.
        """
        if any(order.profiling for order in orders):
            self._rehearse(rows, tapped, grids)
        stages = {index: stage for index, order in enumerate(orders) for stage in _among_rows(order, len(rows[index]))}
        # As a view, an unreduced image would keep the dropped rows of its batch mates in memory.
        kept = [image.clone() if stages and index not in stages else image for index, image in enumerate(rows)]
        queries = dict(zip(stages, self._selector.embed_queries([orders[i].query_ids for i in stages]), strict=True))
        for method in dict.fromkeys(stage.method for stage in stages.values()):
            chosen = [index for index, stage in stages.items() if stage.method == method]
            images = [ImageTokens(rows[i], grids[i], queries[i], stages[i].budget, **tapped.of(i)) for i in chosen]
            with self._selector.timed(method, rows[0].device):
                for index, packed in zip(chosen, self._packed(images, method), strict=True):
                    kept[index] = packed
        for result, order in zip(kept, orders, strict=True):
            if len(result) != order.placed:
                raise RowCountError(f"image has {order.placed} placeholders but {len(result)} rows")
        return kept

    def _packed(self, images: list[ImageTokens], method: str) -> list[Tensor]:
        """Kept rows of each image with their position columns, (K, D + COLUMNS)."""
        return [
            positions.pack(
                image.rows.index_select(0, selection.kept), selection.kept, self.family.packing_width(image.grid)
            )
            for image, selection in zip(images, self._selector.select(images, method), strict=True)
        ]

    def _rehearse(self, rows: Sequence[Tensor], tapped: Tapped, grids: Sequence[Grid]) -> None:
        """Let vLLM's memory profiling see the selection at its largest."""
        longest = torch.zeros(settings().max_query_tokens, dtype=torch.int64, device=rows[0].device)
        (query,) = self._selector.embed_queries([longest])
        images = [
            ImageTokens(image, grid, query, max(1, image.shape[0] - 1), **tapped.of(index))
            for index, (image, grid) in enumerate(zip(rows, grids, strict=True))
        ]
        self._packed(images, usual_selection())

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


def _among_rows(order: Order, rows: int) -> list[StageOrder]:
    """The stage that selects among the rows of an image, if any is left to drop.

    Raises:
        RowCountError: the order counts on other rows, or holds a stage that nothing here carries out.
    """
    if order.stages and rows != order.encoded:
        raise RowCountError(f"image was planned with {order.encoded} rows but has {rows}")
    among = [stage for stage in order.stages if stage.where == "rows"]
    if len(among) != len(order.stages) or len(among) > 1:
        raise RowCountError(f"no way to carry out {len(order.stages)} stages in a worker: {order.stages}")
    return [stage for stage in among if stage.budget < rows]


def _overheard_for(order: Order, grid: Grid) -> frozenset[Need]:
    """What has to be overheard in the encoder for one image."""
    if order.profiling:
        return overheard_by_requests()
    dropping = [stage.method for stage in order.stages if stage.budget < math.prod(grid)]
    return frozenset[Need]().union(*(overheard(method) for method in dropping))
