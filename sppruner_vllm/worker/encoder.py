"""The one way from pixels to rows: micro-batches, taps, and upstream's own forward between them.

A scheduler that counts retained tokens, as vLLM's does without ours, may bring many times the tokens that start-up
measured; cutting a batch by unreduced tokens keeps the peak where it was. Images whose order drops tokens
inside the tower go through their family's own forward, apart from the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import Family
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import Need
from sppruner_vllm.wire import Order, StageOrder

from .micro_batches import cut, micro_batches, pick
from .taps import Tapped, Taps


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some images of a step, encoded.

    images: which. rows: (N, D) of each, in raster order. tapped: what was overheard of them.
    """

    images: slice
    rows: list[Tensor]
    tapped: Tapped


def inside_encoder(order: Order) -> StageOrder | None:
    """The stage that drops tokens inside the encoder, if there is one.

    Raises:
        RowCountError: there is more than one.
    """
    inside = [stage for stage in order.stages if stage.where == "encoder"]
    if len(inside) > 1:
        raise RowCountError(f"no way to carry out {len(order.stages)} stages in a worker: {order.stages}")
    return inside[0] if inside else None


class Encoder:
    """Runs one model's vision tower."""

    def __init__(self, family: Family, model: Any, upstream: Callable[..., Any]) -> None:
        """Args:
        family, model: whose tower it is.
        upstream: upstream's `embed_multimodal`.
        """
        self._family, self._model, self._upstream = family, model, upstream

    @cached_property
    def _taps(self) -> Taps:
        # Late, so that a tower no one listens to carries no hook.
        return Taps(self._family.tap_points(self._model))

    def run(
        self,
        inputs: dict[str, Any],
        wanted: Sequence[frozenset[Need]],
        budget: int | None,
        cuts: Sequence[StageOrder | None] | None = None,
    ) -> Iterator[Encoded]:
        """Encode a step's images part by part.

        Args:
            inputs: as vLLM batched them, ours taken out.
            wanted: what is to be overheard for each image.
            budget: most visual tokens encoded at once; None encodes all in one piece.
            cuts: the stage of each image that drops tokens inside the tower, None for one that goes through it whole;
                left out where all do.
        """
        grids = self._family.grids(inputs)
        for images, part in self._parts(inputs, grids, budget):
            needs = frozenset[Need]().union(*wanted[images])
            wholes: Sequence[StageOrder | None] = [None] * len(grids[images]) if cuts is None else cuts[images]
            yield self._encode(images, part, grids[images], needs, wholes)

    def _encode(
        self,
        images: slice,
        inputs: dict[str, Any],
        grids: Sequence[Grid],
        needs: frozenset[Need],
        cuts: Sequence[StageOrder | None],
    ) -> Encoded:
        """Images that go the same way through the tower go together."""
        ways: dict[int | None, list[int]] = {}
        for index, stage in enumerate(cuts):
            ways.setdefault(None if stage is None else stage.block, []).append(index)
        if len(ways) == 1:
            return Encoded(images, *self._pass(inputs, grids, needs, cuts))
        found: dict[int, tuple[Tensor, Tapped]] = {}
        for members in ways.values():
            part = pick(inputs, members, self._family.flat_inputs(grids))
            rows, tapped = self._pass(part, [grids[i] for i in members], needs, [cuts[i] for i in members])
            found |= {index: (rows[place], tapped.one(place)) for place, index in enumerate(members)}
        ordered = [found[index] for index in range(len(grids))]
        return Encoded(images, [rows for rows, _ in ordered], Tapped.of_all([tapped for _, tapped in ordered]))

    def _pass(
        self, inputs: dict[str, Any], grids: Sequence[Grid], needs: frozenset[Need], cuts: Sequence[StageOrder | None]
    ) -> tuple[list[Tensor], Tapped]:
        """One forward of the tower, in which all images are cut behind one block, or none is."""
        stage, cut = cuts[0], self._family.cut
        with self._taps.watching(grids, needs) if needs else nullcontext(Tapped()) as tapped:
            if stage is None or stage.block is None or cut is None:
                return list(self._upstream(**inputs)), tapped
            most = [one.budget for one in cuts if one is not None]
            return cut.encode(self._model, inputs, most, stage.block), tapped

    def _parts(
        self, inputs: dict[str, Any], grids: Sequence[Grid], budget: int | None
    ) -> Iterator[tuple[slice, dict[str, Any]]]:
        sizes = [math.prod(grid) for grid in grids]
        if budget is None or sum(sizes) <= budget:
            yield slice(0, len(sizes)), inputs
            return
        flat = self._family.flat_inputs(grids)
        for images in micro_batches(sizes, budget):
            yield images, cut(inputs, images, flat)
