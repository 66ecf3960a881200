"""Taps: what a vision tower knows besides its rows, overheard while upstream's own forward runs.

Hooks stand on inner modules, because vLLM calls the compiled ones around them without firing any. They change nothing
and cost nothing between `watching` blocks. Where no hook fires (a compiled encoder, which start-up refuses; images that
came as embeddings) a tap gives nothing. docs/develop/architecture.md, "The encoder".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.utils.torch_utils import async_tensor_h2d

from sppruner_vllm.family import Layout, Tap, TapPoints
from sppruner_vllm.planning.smaller import Grid

from . import column_attention


@dataclass(slots=True)
class Tapped:
    """What was overheard of a batch of images, each list in their order, or empty.

    attention: (N,) float32, as `visual_tokens_attention` gives it, in raster order.
    merger_input: (N, M, F), the merger's input of each visual token, its M patches, in raster order.
    through: (N,) bool, whether a token went through every block, in raster order.
    """

    attention: list[Tensor] = field(default_factory=list)
    merger_input: list[Tensor] = field(default_factory=list)
    through: list[Tensor] = field(default_factory=list)

    def one(self, image: int) -> Tapped:
        """What was overheard of one image."""
        own = slice(image, image + 1)
        return Tapped(self.attention[own], self.merger_input[own], self.through[own])

    @classmethod
    def of_all(cls, parts: Sequence[Tapped]) -> Tapped:
        """What was overheard of several batches, as of one."""
        return cls(
            [heard for part in parts for heard in part.attention],
            [heard for part in parts for heard in part.merger_input],
            [heard for part in parts for heard in part.through],
        )

    def of(self, image: int) -> dict[str, Tensor | None]:
        """What is known of one image, by the names of `Tap`."""
        return {
            "attention": self.attention[image] if self.attention else None,
            "merger_input": self.merger_input[image] if self.merger_input else None,
            "through": self.through[image] if self.through else None,
        }


class Taps:
    """Listens to one vision tower."""

    def __init__(self, points: TapPoints) -> None:
        self._points = points
        self._grids: Sequence[Grid] = ()
        self._layouts: Sequence[Layout | None] = ()
        self._wanted: frozenset[Tap] = frozenset()
        self._found = Tapped()
        if points.attention is not None:
            points.attention.register_forward_pre_hook(self._on_attention, with_kwargs=True)
        if points.merger_input is not None:
            points.merger_input.register_forward_pre_hook(self._on_merger)

    @contextmanager
    def watching(
        self, grids: Sequence[Grid], wanted: frozenset[Tap], layouts: Sequence[Layout | None] | None = None
    ) -> Iterator[Tapped]:
        """Listen while the images are encoded inside the block.

        Args:
            grids: (height, width) of each in visual tokens.
            wanted: what some method of the batch needs; the rest is not computed.
            layouts: of each, as its family gives them; left out where the rows of each are its grid.

        Yields:
            A record that is full after the encoder ran.
        """
        self._grids, self._wanted, self._found = grids, wanted, Tapped()
        self._layouts = [None] * len(grids) if layouts is None else layouts
        try:
            yield self._found
        finally:
            self._grids, self._layouts, self._wanted, self._found = (), (), frozenset(), Tapped()

    def _on_attention(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        if "attention" not in self._wanted:
            return
        # (1, P, heads, d) each, the patches of all images in the tower's order.
        sizes = self._patches()
        queries, keys = inputs["query"][0].split(sizes), inputs["key"][0].split(sizes)
        for place, (query, key) in enumerate(zip(queries, keys, strict=True)):
            received = column_attention.visual_tokens_attention(query, key, self._points.merged)
            if self._points.ranks > 1:
                # Each rank has as many heads as the others: the mean over all is the mean of their means.
                received = tensor_model_parallel_all_reduce(received) / self._points.ranks
            self._found.attention.append(self._in_raster_order(received, place))

    def _on_merger(self, _: Any, inputs: tuple[Any, ...]) -> None:
        if "merger_input" not in self._wanted:
            return
        patches = inputs[0].flatten(0, -2)
        sizes = self._patches()
        # Some towers hand their projector all images at once, others one after the other.
        while len(patches):
            place = len(self._found.merger_input)
            rows = patches[: sizes[place]].unflatten(0, (-1, self._points.merged))
            patches = patches[sizes[place] :]
            self._found.merger_input.append(self._in_raster_order(rows, place))

    def _patches(self) -> list[int]:
        return [
            (math.prod(grid) if layout is None else layout.in_tower) * self._points.merged
            for grid, layout in zip(self._grids, self._layouts, strict=True)
        ]

    def _in_raster_order(self, values: Tensor, place: int) -> Tensor:
        """A copy, so that nothing of the tower's own stays alive or changes under it."""
        layout = self._layouts[place]
        if layout is not None:
            return layout.arranged(values)
        if self._points.order is None:
            return values.clone()
        order = async_tensor_h2d(self._points.order(self._grids[place]), values.device)
        return torch.empty_like(values).index_copy_(0, order, values)
