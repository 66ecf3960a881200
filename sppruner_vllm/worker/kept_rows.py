"""The encoder with a memory: images and videos whose rows are kept never reach it.

Another question, another ratio or another method about a picture asks for the rows that the first one had. Of equal
pictures in one step the first is encoded. All of it holds of videos too, which an encoder of their own encodes.
docs/develop/architecture.md, "Rows that are kept".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_rank

from sppruner_vllm.family import Tap
from sppruner_vllm.metrics import events
from sppruner_vllm.wire import Order, StageOrder

from .encoder import Encoded
from .micro_batches import Rows, micro_batches, pick
from .rows_cache import ImageRows, RowsCache, RowsKey, rows_key
from .stages import inside_encoder


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images of a step with their rows.

    images: which, by their place in the step. rows: (N, D) of each, in raster order. taps: what was wanted and
    overheard of each, by the names of `Tap`. spared: the encoder did not run for them.
    """

    images: list[int]
    rows: list[Tensor]
    taps: list[Mapping[str, Tensor]]
    spared: bool = False


@dataclass(slots=True)
class _Alike:
    """Images of a step that show the same picture. images: which; the first is encoded. wanted: by any of them."""

    key: RowsKey | None
    images: list[int]
    wanted: frozenset[Tap]

    def also(self, image: int, wanted: frozenset[Tap]) -> None:
        """One more image that shows it."""
        self.images.append(image)
        self.wanted |= wanted


class Encodes(Protocol):
    """What encodes the images of a step, or its videos."""

    def rows_of_inputs(self, inputs: Mapping[str, Any], /) -> Rows:
        """As `Family.rows_of_inputs` has it, of images or of videos."""

    def run(
        self,
        inputs: dict[str, Any],
        wanted: Sequence[frozenset[Tap]],
        budget: int | None,
        stages: Sequence[Sequence[StageOrder]] | None = None,
    ) -> Iterator[Encoded]:
        """As `Encoder.run` has it."""


class KeptRows:
    """Gives the rows of a step's images, or of its videos, from memory or from their encoder."""

    def __init__(self, cache: RowsCache | None) -> None:
        """Args:
        cache: None encodes every image.
        """
        self.cache = cache
        self._counts = cache is not None and get_tensor_model_parallel_rank() == 0

    def run(
        self,
        encoder: Encodes,
        inputs: dict[str, Any],
        orders: Sequence[Order],
        grids: Sequence[tuple[int, ...]],
        wanted: Sequence[frozenset[Tap]],
        budget: int | None,
    ) -> Iterator[Batch]:
        """Bring a step's images batch by batch, each image once.

        Args:
            encoder: what encodes those that are not kept.
            inputs: as vLLM batched them, ours taken out.
            orders, grids: of each image, a grid in visual tokens. wanted: what is to be overheard of it.
            budget: most visual tokens of a batch; None encodes all in one piece.
        """
        if self.cache is None:
            for part in encoder.run(inputs, wanted, budget, [inside_encoder(order) for order in orders]):
                images = list(range(part.images.start, part.images.stop))
                yield _batch(images, [_image(part, at) for at in range(len(images))], wanted)
            return
        found, missing = self._look_up(self.cache, orders, grids, wanted)
        for images in _within(list(found), grids, budget):
            yield _batch(images, [found.pop(index) for index in images], wanted, spared=True)
        if missing:
            first = [alike.images[0] for alike in missing]
            needs = [alike.wanted for alike in missing]
            rows_of = encoder.rows_of_inputs(inputs)
            stages = [inside_encoder(orders[index]) for index in first]
            for part in encoder.run(pick(inputs, first, rows_of), needs, budget, stages):
                encoded = missing[part.images]
                rows = [self._remember(self.cache, alike, _image(part, at)) for at, alike in enumerate(encoded)]
                yield _batch([alike.images[0] for alike in encoded], rows, wanted)
                others = {
                    index: image for alike, image in zip(encoded, rows, strict=True) for index in alike.images[1:]
                }
                for images in _within(list(others), grids, budget):
                    yield _batch(images, [others[index] for index in images], wanted, spared=True)
        self._count(self.cache, len(orders), missing)

    def _look_up(
        self,
        cache: RowsCache,
        orders: Sequence[Order],
        grids: Sequence[tuple[int, ...]],
        wanted: Sequence[frozenset[Tap]],
    ) -> tuple[dict[int, ImageRows], list[_Alike]]:
        """What is kept, by image, and the images that are to be encoded, equal pictures together."""
        found: dict[int, ImageRows] = {}
        missing: list[_Alike] = []
        by_key: dict[RowsKey, _Alike] = {}
        for index, (order, grid, needs) in enumerate(zip(orders, grids, wanted, strict=True)):
            key = rows_key(order, grid)
            image = None if key is None else cache.find(key, needs)
            if image is not None:
                found[index] = image
            elif key is not None and key in by_key:
                by_key[key].also(index, needs)
            else:
                missing.append(_Alike(key, [index], needs))
                if key is not None:
                    by_key[key] = missing[-1]
        return found, missing

    def _remember(self, cache: RowsCache, alike: _Alike, image: ImageRows) -> ImageRows:
        return image if alike.key is None else cache.keep(alike.key, image)

    def _count(self, cache: RowsCache, images: int, missing: Sequence[_Alike]) -> None:
        misses = sum(alike.key is not None for alike in missing)
        unkeepable = len(missing) - misses
        if self._counts and images > unkeepable:
            events.count_kept_rows(images - len(missing), misses, cache.take_evicted(), cache.held)


def _image(part: Any, at: int) -> ImageRows:
    taps = {name: tap for name, tap in part.tapped.of(at).items() if tap is not None}
    return ImageRows(part.rows[at], taps)


def _batch(
    images: list[int], rows: Sequence[ImageRows], wanted: Sequence[frozenset[Tap]], *, spared: bool = False
) -> Batch:
    """A batch in which each image has what it wanted and no more: it never shows who asked before."""
    taps: list[Mapping[str, Tensor]] = [
        {name: tap for name, tap in image.taps.items() if name in wanted[index]}
        for index, image in zip(images, rows, strict=True)
    ]
    return Batch(images, [image.rows for image in rows], taps, spared)


def _within(images: list[int], grids: Sequence[tuple[int, ...]], budget: int | None) -> Iterator[list[int]]:
    """Images in batches of at most so many visual tokens."""
    if not images:
        return
    sizes = [math.prod(grids[index]) for index in images]
    for part in micro_batches(sizes, sum(sizes) if budget is None else budget):
        yield images[part]
