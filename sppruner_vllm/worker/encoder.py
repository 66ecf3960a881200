"""The one way from pixels to rows: micro-batches, taps, and upstream's own forward between them.

A scheduler that counts retained tokens, as vLLM's does without ours, may bring many times the tokens that start-up
measured; cutting a batch by unreduced tokens keeps the peak where it was. A stage that drops tokens inside the
tower belongs here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from sppruner_vllm.family import Family
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import Need

from .micro_batches import cut, micro_batches
from .taps import Tapped, Taps


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some images of a step, encoded.

    images: which. rows: (N, D) of each, in raster order. tapped: what was overheard of them.
    """

    images: slice
    rows: list[Tensor]
    tapped: Tapped


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

    def run(self, inputs: dict[str, Any], wanted: Sequence[frozenset[Need]], budget: int | None) -> Iterator[Encoded]:
        """Encode a step's images part by part.

        Args:
            inputs: as vLLM batched them, ours taken out.
            wanted: what is to be overheard for each image.
            budget: most visual tokens encoded at once; None encodes all in one piece.
        """
        grids = self._family.grids(inputs)
        for images, part in self._parts(inputs, grids, budget):
            needs = frozenset[Need]().union(*wanted[images])
            with self._taps.watching(grids[images], needs) if needs else nullcontext(Tapped()) as tapped:
                rows = list(self._upstream(**part))
            yield Encoded(images, rows, tapped)

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
