"""Selection in the worker: brings embeddings of the questions to the images of a batch, and has their rows chosen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from sppruner_vllm.reduction import ImageTokens, Selection, reduce

from .timing import SelectionTimer


class Selector:
    """Selects for one model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._text_mean: Tensor | None = None
        self._timer = SelectionTimer() if get_tensor_model_parallel_rank() == 0 else None

    def select(self, images: list[ImageTokens], method: str) -> list[Selection]:
        """What each image keeps, of at least one."""
        return reduce(images, method, text_mean=self._mean_text_embedding(images))

    def timed(self, method: str, device: torch.device) -> AbstractContextManager[None]:
        """Counts what the block does as a selection of served images."""
        return nullcontext() if self._timer is None else self._timer.measure(method, device)

    def embed_queries(self, ids: Sequence[Tensor]) -> list[Tensor | None]:
        """Input embeddings of each query, (T, D) or None for an empty one; one look-up for all."""
        lengths = [query.numel() for query in ids]
        if not sum(lengths):
            return [None] * len(lengths)
        embedded = self._embed_text(torch.cat(list(ids))).split(lengths)
        return [query if query.numel() else None for query in embedded]

    def _embed_text(self, ids: Tensor) -> Tensor:
        return cast("Tensor", self._model.get_language_model().embed_input_ids(ids))

    def _mean_text_embedding(self, images: Sequence[ImageTokens]) -> Tensor | None:
        """Mean of the embedding table, (D,) float32: the offset all text shares. None when no image has a query."""
        if all(image.query is None for image in images):
            return None
        if self._text_mean is None:
            size = self._model.get_language_model().config.vocab_size
            parts = torch.arange(size, device=images[0].rows.device).split(8192)
            total = torch.stack([self._embed_text(ids).sum(0, dtype=torch.float64) for ids in parts]).sum(0)
            self._text_mean = (total / size).float()
        return self._text_mean
