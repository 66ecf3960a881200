"""Questions as the language model itself understands them: states of their tokens behind some of its layers.

The text alone goes through, without the engine's KV cache, so a state depends on the question and on nothing else.
docs/develop/algorithm.md, "The question as the model reads it".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, cast

import torch
from cachetools import LRUCache
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from vllm.utils.torch_utils import async_tensor_h2d

from sppruner_vllm.family import TextLayers
from sppruner_vllm.owned import owned

KEPT: Final = 2**24
"""Bytes of states that are kept for questions to come: some hundred of a dozen words, at a width of 3,584."""


class MiddleStates:
    """Reads questions for one model; used by one thread.

    Tensor-parallel ranks that are asked the same in the same order do the same, and keep the same.
    """

    def __init__(
        self,
        text: TextLayers,
        layers: int,
        lead: Sequence[int],
        captions: Callable[[], list[list[int]]],
        timed: Callable[[torch.device], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """Args:
        text: the language model. layers: that questions go through.
        lead: ids that stand before each. captions: ids of the texts whose mean state is subtracted.
        timed: counts what is done in its block.
        """
        self._text, self._layers, self._lead, self._captions = text, layers, tuple(lead), captions
        self._timed = timed
        self._kept: LRUCache[str, Tensor] = LRUCache(KEPT, getsizeof=lambda states: states.nbytes)
        self._mean: Tensor | None = None

    def read(self, ids: Sequence[Tensor], names: Sequence[str]) -> list[Tensor | None]:
        """States of each question; those that are not kept are read in one go, each once."""
        known: dict[object, Tensor] = {}
        new: dict[object, Tensor] = {}
        for place, (question, name) in enumerate(zip(ids, names, strict=True)):
            if not question.numel():
                continue
            kept = self._kept.get(name) if name else None
            if kept is not None:
                known[name] = kept
            else:
                new.setdefault(name or place, question)
        if new:
            with self._timed(ids[0].device):
                known.update(zip(new, self.states(list(new.values())), strict=True))
            self._keep({name: known[name] for name in new if isinstance(name, str)})
        return [
            known[name or place] if question.numel() else None
            for place, (question, name) in enumerate(zip(ids, names, strict=True))
        ]

    def mean(self, device: torch.device) -> Tensor:
        if self._mean is None:
            captions = self._captions()
            ids = async_tensor_h2d(torch.tensor([token for text in captions for token in text], device="cpu"), device)
            states = self.states(ids.split([len(text) for text in captions]))
            self._mean = torch.cat(states).mean(0)
        return self._mean

    def forget(self) -> None:
        self._kept.clear()
        self._mean = None

    def states(self, questions: Sequence[Tensor], *, together: bool | None = None) -> list[Tensor]:
        """(T, D) float32 of each question, of its own tokens alone.

        Args:
            questions: (T,) ids each, T at least 1, at least one question.
            together: in one pass, which reads the weights once; else one by one, which gives the same bits in any
                company. None: one by one on a CPU, where the weights are no more to read than the tokens to compute.
        """
        if together is None:
            together = questions[0].device.type != "cpu"
        lead = async_tensor_h2d(torch.tensor(self._lead, dtype=torch.int64, device="cpu"), questions[0].device)
        led = [torch.cat((lead, question)) for question in questions]
        parts = [led] if together else [[one] for one in led]
        states = [state for part in parts for state in self._pass(part)]
        return [state[len(self._lead) :] for state in states]

    def _pass(self, texts: Sequence[Tensor]) -> Sequence[Tensor]:
        side_by_side = _SideBySide([len(text) for text in texts], texts[0].device)
        positions = side_by_side.positions
        if self._text.rows > 1:
            positions = positions.expand(self._text.rows, -1).contiguous()
        hidden, residual = self._text.embed(torch.cat(list(texts))), None
        for layer in self._text.layers[: self._layers]:
            hidden, residual = layer(positions, hidden, residual, side_by_side.attend)
        states = hidden.float() + cast("Tensor", residual).float()
        return cast("Sequence[Tensor]", states.split(side_by_side.lengths))

    def _keep(self, states: dict[str, Tensor]) -> None:
        for name, found in states.items():
            if found.nbytes <= self._kept.maxsize:
                self._kept[name] = owned(found)


class _SideBySide:
    """Texts of some lengths in one row of tokens, none of which looks at another text."""

    def __init__(self, lengths: list[int], device: torch.device) -> None:
        self.lengths = lengths
        self._longest = max(lengths)
        own = [torch.arange(length, device="cpu") for length in lengths]
        self.positions = async_tensor_h2d(torch.cat(own), device)
        places = torch.cat([index + text * self._longest for text, index in enumerate(own)])
        self._places = async_tensor_h2d(places, device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Each token looks at those of its own text up to itself."""
        own, keys, values = (self._stacked(part).transpose(1, 2) for part in (query, key, value))
        grouped = query.shape[1] != key.shape[1]
        seen = scaled_dot_product_attention(own, keys, values, is_causal=True, scale=scale, enable_gqa=grouped)
        return seen.transpose(1, 2).flatten(0, 1).index_select(0, self._places)

    def _stacked(self, values: Tensor) -> Tensor:
        """(texts, longest, heads, d), padded behind, where no token of a text looks."""
        padded = values.new_zeros(len(self.lengths) * self._longest, *values.shape[1:])
        stacked: Tensor = padded.index_copy_(0, self._places, values).unflatten(0, (len(self.lengths), -1))
        return stacked
