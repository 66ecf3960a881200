"""Model mixin: gives kept tokens the positions they had in the unreduced prompt.

It answers the hooks that vLLM's own video pruning goes through, so runners V1 and V2 serve it without being changed.
docs/develop/architecture.md, "vLLM's hooks".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor
from vllm.utils.gpu_sync_debug import gpu_sync_allowed

from sppruner_vllm.family import Family

from . import positions


class OriginalPositionsMixin:
    """Put before a family's own model class, together with `ReducingMixin`, in the base-class list."""

    family: Family

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[Tensor, int]:
        return positions.initial_positions(len(input_tokens), self.family.spans(self, mm_features))

    def recompute_mrope_positions(
        self,
        input_ids: list[int] | Tensor,
        multimodal_embeddings: Sequence[Tensor],
        mrope_positions: Tensor,
        num_computed_tokens: int,
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        width = self.family.row_width
        placed = mrope_positions
        if any(positions.is_packed(rows, width) for rows in multimodal_embeddings):
            placed = positions.place_rows(
                mrope_positions,
                multimodal_embeddings,
                width,
                num_computed_tokens,
                self.family.still_row,
                self._frames(input_ids, mrope_positions.device),
            )
        # The last token is text or an unreduced image's: its position never changes. Runners want a plain integer.
        # The wait for it also orders memory under runner V2: whoever takes it out reads docs/develop/architecture.md,
        # "Two model runners", first.
        with gpu_sync_allowed():
            delta = int(mrope_positions[:, -1].max()) + 1 - mrope_positions.shape[1]
        return positions.unpack(multimodal_embeddings, width), placed, delta

    def _frames(self, ids: list[int] | Tensor, device: torch.device) -> Tensor | None:
        """(N,) bool: which tokens of a prompt are of a video, by their id; None where the model knows no videos.

        Not asked of images: where one is a single token, nothing is reduced.
        """
        tokens = [token for modality, token in self.family.media_tokens.items() if modality != "image"]
        if not tokens:
            return None
        given = ids if isinstance(ids, Tensor) else torch.tensor(ids, device=device)
        return reduce(or_, (given == token for token in tokens))

    def get_model_state_cls(self) -> Any:
        """Runner V2's state, imported by the worker that runs it."""
        from .runner_v2 import ReducingModelState

        return ReducingModelState
