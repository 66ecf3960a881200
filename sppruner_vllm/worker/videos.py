"""Reduces videos behind the encoder: each frame is selected from as an image of its own, with its own budget.

How many rows each frame keeps was decided before the encoder, as the prompt has places for so many. What repeats the
frame before counts for less among a frame's tokens. docs/develop/algorithm.md, "Videos".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import Family, Videos
from sppruner_vllm.owned import owned
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.planning.videos import FrameGrid
from sppruner_vllm.reduction import ImageTokens, Selection
from sppruner_vllm.reduction.frames import repeated
from sppruner_vllm.told import name_of_frame
from sppruner_vllm.wire import Order

from . import positions
from .kept_rows import KeptRows
from .selecting import Selector
from .served import overheard_for
from .stages import among_rows
from .telling import Stopwatch
from .video_encoder import VideoEncoder


@dataclass(frozen=True, slots=True)
class EncodedVideo:
    """A video, encoded.

    rows: (N, D), frame after frame, each in raster order. grid: of the video.
    taps: what was overheard of it, of N entries each, by the names of `ImageTokens`.
    """

    rows: Tensor
    grid: FrameGrid
    taps: Mapping[str, Tensor]

    @property
    def frames(self) -> list[Tensor]:
        """(height * width, D) of each frame."""
        return list(self.rows.split(self._each))

    @property
    def frame_taps(self) -> list[dict[str, Tensor]]:
        """What was overheard of each frame."""
        split = {name: tap.split(self._each) for name, tap in self.taps.items()}
        return [{name: parts[number] for name, parts in split.items()} for number in range(self.grid[0])]

    @property
    def _each(self) -> int:
        return self.grid[1] * self.grid[2]


Rehearse = Callable[[Sequence[Tensor], Sequence[Mapping[str, Tensor]], Sequence[Grid]], None]
"""Lets a memory profile see the selection at its largest: rows, what was overheard, and grid of each frame."""

Remember = Callable[
    [Sequence[str], Sequence[ImageTokens], Sequence[Selection], Sequence[Tensor | None], bool, Stopwatch], None
]
"""Holds selections that someone asked to be told of, as `ReducingMixin._remember` does."""


class VideoReducer:
    """Reduces the videos of one model."""

    def __init__(
        self,
        family: Family,
        facts: Videos,
        encoder: VideoEncoder,
        rows: KeptRows,
        selector: Selector,
        remember: Remember,
    ) -> None:
        """Args:
        family, facts: of the model, and of its videos. encoder, rows: bring those of videos.
        selector: chooses among them. remember: takes the selections that are to be told.
        """
        self._family, self._together = family, facts.together
        self.encoder, self._rows, self._selector, self._remember = encoder, rows, selector, remember

    def run(
        self, inputs: dict[str, Any], orders: Sequence[Order], budget: int | None, rehearse: Rehearse
    ) -> tuple[Tensor, ...]:
        """The rows that each video keeps.

        Args:
            inputs: as vLLM batched them, ours taken out, of videos alone.
            budget: most visual tokens that are encoded at once, but for one video that has more; None for any number.
        """
        grids = self.encoder.grids(inputs)
        wanted = [
            overheard_for(order, math.prod(grid), self._family.heard) for order, grid in zip(orders, grids, strict=True)
        ]
        kept: dict[int, Tensor] = {}
        for batch in self._rows.run(self.encoder, inputs, orders, grids, wanted, budget):
            for place, rows, taps in zip(batch.images, batch.rows, batch.taps, strict=True):
                video = EncodedVideo(rows, grids[place], taps)
                if orders[place].profiling:
                    rehearse(video.frames, video.frame_taps, [video.grid[1:]] * video.grid[0])
                alone = len(batch.images) == 1
                kept[place] = self._reduced(video, orders[place], alone=alone, spared=batch.spared)
        return tuple(kept[place] for place in range(len(orders)))

    def _reduced(self, video: EncodedVideo, order: Order, *, alone: bool, spared: bool) -> Tensor:
        """The rows that a video keeps: packed where it was reduced, as the encoder gave them where not.

        Args:
            alone: nothing else was encoded with it, so that its rows keep nothing else in memory.
            spared: the encoder did not run for it.

        Raises:
            RowCountError: it has other rows than placeholders, or the order cannot be carried out.
        """
        stage = among_rows(order, len(video.rows))
        if stage is not None:
            kept = self._selected(video, order, stage.method, spared)
        else:
            kept = video.rows if alone else owned(video.rows)
        if len(kept) != order.placed:
            raise RowCountError(f"video has {order.placed} placeholders but {len(kept)} rows")
        return kept

    def _selected(self, video: EncodedVideo, order: Order, method: str, spared: bool) -> Tensor:
        """What `method` keeps of each frame, packed."""
        seen = video.rows[:, : self._family.word_width]
        (asked,) = self._selector.asked([order.query_ids], [method], [order.question])
        watch = Stopwatch(seen.device) if order.told else None
        with self._selector.timed(method, seen.device):
            each = zip(
                seen.split([len(frame) for frame in video.frames]),
                repeated(seen, video.grid[0]).view(video.grid[0], -1),
                video.frame_taps,
                order.frames,
                strict=True,
            )
            images = [
                ImageTokens(rows, video.grid[1:], budget=budget, repeats=repeats, **asked, **taps)
                for rows, repeats, taps, budget in each
            ]
            selections = self._selector.select(images, method)
            kept = [selection.kept for selection in selections]
            rows = [frame.index_select(0, places) for frame, places in zip(video.frames, kept, strict=True)]
            packed = positions.pack_frames(rows, kept, video.grid, together=self._together)
        if watch is not None:
            watch.stop()
            names = [name_of_frame(order.told, number) for number in range(len(kept))]
            self._remember(names, images, selections, [None] * len(kept), spared, watch)
        return packed
