"""The one way from pixels to rows: micro-batches, taps, and upstream's own forward between them.

A scheduler that counts retained tokens, as vLLM's does without ours, may bring many times the tokens that start-up
measured; cutting a batch by unreduced tokens keeps the peak where it was. Images whose order drops tokens
in the tower go through their family's own forward, apart from the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from sppruner_vllm.family import Family, LeftOut, Tap
from sppruner_vllm.metrics import events
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.wire import StageOrder

from .micro_batches import parts, pick
from .taps import Tapped, Taps


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some images of a step, encoded.

    images: which. rows: (N, D) of each, in raster order. tapped: what was overheard of them.
    """

    images: slice
    rows: list[Tensor]
    tapped: Tapped


@dataclass(frozen=True, slots=True)
class _Way:
    """How an image goes through the tower; those that go the same way go together.

    repeats: whether some of its tokens do not enter. block: behind which some are dropped, None for none.
    """

    repeats: bool
    block: int | None


class Encoder:
    """Runs one model's vision tower."""

    def __init__(self, family: Family, model: Any, upstream: Callable[..., Any]) -> None:
        """Args:
        family, model: whose tower it is.
        upstream: upstream's `embed_multimodal`.
        """
        self._family, self._model, self._upstream = family, model, upstream
        self.rows_of_inputs = family.rows_of_inputs

    @cached_property
    def taps(self) -> Taps:
        """What listens to the tower."""
        # Late, so that a tower no one listens to carries no hook.
        return Taps(self._family.tap_points(self._model))

    def run(
        self,
        inputs: dict[str, Any],
        wanted: Sequence[frozenset[Tap]],
        budget: int | None,
        stages: Sequence[Sequence[StageOrder]] | None = None,
    ) -> Iterator[Encoded]:
        """Encode a step's images part by part.

        Args:
            inputs: as vLLM batched them, ours taken out.
            wanted: what is to be overheard for each image.
            budget: most visual tokens encoded at once; None encodes all in one piece.
            stages: those of each image that drop tokens in the tower; left out where all images go through it whole.
        """
        grids = self._family.grids(inputs)
        for images, part in parts(inputs, [math.prod(grid) for grid in grids], budget, self.rows_of_inputs):
            needs = frozenset[Tap]().union(*wanted[images])
            own: Sequence[Sequence[StageOrder]] = [()] * len(grids[images]) if stages is None else stages[images]
            yield self._encode(images, part, grids[images], needs, own)

    def _encode(
        self,
        images: slice,
        inputs: dict[str, Any],
        grids: Sequence[Grid],
        needs: frozenset[Tap],
        stages: Sequence[Sequence[StageOrder]],
    ) -> Encoded:
        """Images that go the same way through the tower go together."""
        left_out = self._left_out(inputs, grids, stages)
        ways: dict[_Way, list[int]] = {}
        for index, (one, own) in enumerate(zip(left_out, stages, strict=True)):
            block = next((stage.block for stage in own if stage.where == "encoder"), None)
            ways.setdefault(_Way(one.first is not None, block), []).append(index)
        if len(ways) == 1:
            return Encoded(images, *self._pass(inputs, grids, needs, left_out, *ways))
        found: dict[int, tuple[Tensor, Tapped]] = {}
        for way, members in ways.items():
            part = pick(inputs, members, self.rows_of_inputs(inputs))
            rows, tapped = self._pass(part, [grids[i] for i in members], needs, [left_out[i] for i in members], way)
            found |= {index: (rows[place], tapped.one(place)) for place, index in enumerate(members)}
        ordered = [found[index] for index in range(len(grids))]
        return Encoded(images, [rows for rows, _ in ordered], Tapped.of_all([tapped for _, tapped in ordered]))

    def _left_out(
        self, inputs: dict[str, Any], grids: Sequence[Grid], stages: Sequence[Sequence[StageOrder]]
    ) -> list[LeftOut]:
        """What is left out of each image: whether it has repeats only its pixels say."""
        firsts: dict[int, Tensor | None] = {}
        looked_at = [index for index, own in enumerate(stages) if any(stage.where == "entry" for stage in own)]
        if looked_at and (cut := self._family.cut) is not None:
            part = pick(inputs, looked_at, self.rows_of_inputs(inputs))
            firsts = dict(zip(looked_at, cut.repeats(self._model, part), strict=True))
            self._count(firsts.values())
        survive = [next((stage.budget for stage in own if stage.where == "encoder"), None) for own in stages]
        return [LeftOut(firsts.get(index), most) for index, most in enumerate(survive)]

    def _count(self, firsts: Iterable[Tensor | None]) -> None:
        if get_tensor_model_parallel_rank() == 0:
            found = [0 if first is None else int((first != torch.arange(len(first))).sum()) for first in firsts]
            events.count_repeats(sum(found))

    def _pass(
        self,
        inputs: dict[str, Any],
        grids: Sequence[Grid],
        needs: frozenset[Tap],
        left_out: Sequence[LeftOut],
        way: _Way,
    ) -> tuple[list[Tensor], Tapped]:
        """One forward of the tower, which all images go through the same way."""
        cut, listened = self._family.cut, needs - {"through"}
        layouts = self._family.layouts(inputs) if listened else ()
        with self.taps.watching(grids, listened, layouts) if listened else nullcontext(Tapped()) as tapped:
            if cut is None or way == _Way(repeats=False, block=None):
                rows = list(self._upstream(**inputs))
            else:
                rows = cut.encode(self._model, inputs, left_out, way.block, tapped.through)
        if "through" not in needs:
            tapped.through.clear()
        elif not tapped.through:
            tapped.through.extend(torch.ones(len(image), dtype=torch.bool, device=image.device) for image in rows)
        return rows, tapped
