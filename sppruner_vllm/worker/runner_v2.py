"""Runner V2's state for our models: upstream's, which leaves a step without reduced images alone.

Upstream's pruner asks the model for positions whenever a step has image rows, and waits for the device to learn the
delta. At keep ratio 1 there is nothing to ask. Imported in the worker only, when runner V2 asks for it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.v1.worker.gpu.model_states.default import DefaultModelState
from vllm.v1.worker.gpu.model_states.mm_pruning import MultiModalPruner

from .positions import is_packed


class ReducedRowsPlacer(MultiModalPruner):
    """Upstream's pruner for steps that hold reduced rows."""

    def recompute(self, mm_embeds: list[Tensor], input_batch: Any, req_states: Any) -> list[Tensor]:
        if not any(is_packed(rows, self.model.family.row_width) for rows in mm_embeds):
            return mm_embeds
        placed: list[Tensor] = super().recompute(mm_embeds, input_batch, req_states)
        return placed


class ReducingModelState(DefaultModelState):
    """Upstream's state with our pruner in place of its own."""

    mm_pruner: MultiModalPruner | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mm_pruner = _in_place_of(self.mm_pruner)


def _in_place_of(upstream: MultiModalPruner | None) -> ReducedRowsPlacer | None:
    """Our pruner with what upstream's was made of; None where there is none to replace."""
    if upstream is None:
        return None
    return ReducedRowsPlacer(upstream.model, upstream.rope_state, upstream.encoder_cache, upstream.inputs_embeds_size)
