"""Encoder rows by picture, within a bound in bytes: the least recently asked for go first.

What an entry holds is its own: no view of a batch, so that what is dropped frees its memory.
docs/develop/architecture.md, "Rows that are kept".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from cachetools import LRUCache
from torch import Tensor

from sppruner_vllm.family import Tap
from sppruner_vllm.owned import owned
from sppruner_vllm.wire import Order, StageOrder


@dataclass(frozen=True, slots=True)
class ImageRows:
    """What the encoder made of one image or video.

    rows: (N, D), raster order. taps: what was overheard of it, of N entries each, by the names of `Tap`.
    """

    rows: Tensor
    taps: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + sum(tap.nbytes for tap in self.taps.values())


@dataclass(frozen=True, slots=True)
class RowsKey:
    """What rows depend on: the picture at its size, and the stages that drop tokens in the encoder."""

    picture: str
    grid: tuple[int, ...]
    stages: tuple[StageOrder, ...]


def rows_key(order: Order, grid: tuple[int, ...]) -> RowsKey | None:
    """What the rows of an image or video are found by; None for one whose rows are not to be kept."""
    if not order.picture or order.profiling:
        return None
    return RowsKey(order.picture, grid, tuple(stage for stage in order.stages if stage.where != "rows"))


class RowsCache:
    """Rows of one worker; used by one thread. Ranks that see the same images in the same order keep the same rows."""

    def __init__(self, bound: int) -> None:
        """Args:
        bound: most bytes of rows and taps.
        """
        self._kept: LRUCache[RowsKey, ImageRows] = LRUCache(bound, getsizeof=lambda image: image.nbytes)
        self._reserved: Tensor | None = None
        self._evicted = 0

    @property
    def held(self) -> int:
        """Bytes held now."""
        return int(self._kept.currsize)

    def take_evicted(self) -> int:
        """Images that made room for others since this was last asked."""
        evicted, self._evicted = self._evicted, 0
        return evicted

    @property
    def reserved(self) -> int:
        """Bytes taken for a profile."""
        return 0 if self._reserved is None else self._reserved.nbytes

    def reserve(self, device: torch.device) -> None:
        """Take the memory of the bound until the first picture comes, for a profile that has to see it."""
        if self._reserved is None and not self._kept:
            self._reserved = torch.empty(int(self._kept.maxsize), dtype=torch.uint8, device=device)

    def find(self, key: RowsKey, wanted: frozenset[Tap]) -> ImageRows | None:
        """What is held of an image, if all that is wanted was overheard of it."""
        self._reserved = None
        found: ImageRows | None = self._kept.get(key)
        return found if found is not None and wanted <= found.taps.keys() else None

    def keep(self, key: RowsKey, image: ImageRows) -> ImageRows:
        """Keep an image that `find` did not give; one that is larger than the bound is not kept.

        Rows that are held already stay as they were first given, and gain what was overheard now.

        Returns:
            The image as it is held: what later finds give, bit for bit.
        """
        earlier = self._kept.get(key)
        if earlier is not None:
            image = ImageRows(earlier.rows, {**earlier.taps, **image.taps})
        if image.nbytes > self._kept.maxsize:
            return image
        self._kept.pop(key, None)
        while self._kept and self.held + image.nbytes > self._kept.maxsize:
            self._kept.popitem()
            self._evicted += 1
        image = ImageRows(owned(image.rows), {name: owned(tap) for name, tap in image.taps.items()})
        self._kept[key] = image
        return image

    def clear(self) -> None:
        """Forget all rows, and let go of what a profile took."""
        self._reserved = None
        self._kept.clear()
