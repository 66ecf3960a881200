"""What a question steers a selection by: a vector for each of its tokens, and the mean that is subtracted from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.reading.token_table import TokenTable, load, probed


class Questions(Protocol):
    """A way to make vectors of questions."""

    def read(self, ids: Sequence[Tensor], names: Sequence[str]) -> list[Tensor | None]:
        """Vectors of each question, (T, D), or None for an empty one.

        Args:
            ids: (T,) int64 of each, on the model's device. names: the same for equal ids, empty where nothing is to be
                kept by it.
        """

    def mean(self, device: torch.device) -> Tensor:
        """(D,) float32, what all text has in common."""

    def forget(self) -> None:
        """The model's weights are others from now on."""


class WordEmbeddings:
    """The language model's input embeddings, less the mean of its table."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._mean: Tensor | None = None

    def read(self, ids: Sequence[Tensor], names: Sequence[str]) -> list[Tensor | None]:
        """One look-up for all."""
        return _looked_up(self.embed, ids)

    def mean(self, device: torch.device) -> Tensor:
        if self._mean is None:
            size = self._model.get_language_model().config.vocab_size
            parts = torch.arange(size, device=device).split(8192)
            total = torch.stack([self.embed(ids).sum(0, dtype=torch.float64) for ids in parts]).sum(0)
            self._mean = (total / size).float()
        return self._mean

    def forget(self) -> None:
        self._mean = None

    def embed(self, ids: Tensor) -> Tensor:
        return cast("Tensor", self._model.get_language_model().embed_input_ids(ids))


class TableStates:
    """States of a table, of each token alone, less the mean of the captions' tokens."""

    def __init__(self, model: Any, file: Path) -> None:
        """Read the table; whether it is of this model shows once there are weights.

        Raises:
            UnsupportedSetup: it is no table, or one of another size.
        """
        self._words = WordEmbeddings(model)
        self._file = file
        device = next(model.get_language_model().parameters()).device
        self._table: TokenTable = load(file, device)
        config = model.get_language_model().config
        if self._table.states.shape != (config.vocab_size, config.hidden_size):
            raise self._refused()
        self._probed = torch.tensor(probed(config.vocab_size), device=device)
        self._known = False

    def read(self, ids: Sequence[Tensor], names: Sequence[str]) -> list[Tensor | None]:
        if not self._known and not self._table.is_of(self._words.embed(self._probed)):
            raise self._refused()
        self._known = True
        return _looked_up(self._table.states.__getitem__, ids)

    def mean(self, device: torch.device) -> Tensor:
        return self._table.mean

    def forget(self) -> None:
        self._known = False

    def _refused(self) -> UnsupportedSetup:
        return UnsupportedSetup(f"SPPRUNER_STATE_TABLE={self._file} was made of another checkpoint")


def _looked_up(look_up: Any, ids: Sequence[Tensor]) -> list[Tensor | None]:
    lengths = [query.numel() for query in ids]
    if not sum(lengths):
        return [None] * len(lengths)
    found = look_up(torch.cat(list(ids))).split(lengths)
    return [query if query.numel() else None for query in found]
