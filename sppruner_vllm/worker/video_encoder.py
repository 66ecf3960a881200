"""The way of videos from pixels to rows: as that of images (encoder.py), by whole videos.

Every block of a tower sees one frame at a time, so that each frame is overheard as an image of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from sppruner_vllm.family import Tap, Videos
from sppruner_vllm.planning.videos import FrameGrid
from sppruner_vllm.wire import StageOrder

from .encoder import Encoded
from .micro_batches import Rows, parts
from .taps import Tapped, Taps


class VideoEncoder:
    """Runs one model's vision tower on videos."""

    def __init__(self, facts: Videos, taps: Callable[[], Taps], upstream: Callable[..., Any]) -> None:
        """Args:
        facts: of the family's videos. taps: gives what listens to the tower. upstream: its own `embed_multimodal`.
        """
        self._taps, self._upstream = taps, upstream
        self.grids, self._flat_inputs = facts.grids, facts.flat_inputs

    def rows_of_inputs(self, inputs: Mapping[str, Any]) -> Rows:
        """As `Family.rows_of_inputs` has it, of videos."""
        return self._flat_inputs(self.grids(inputs))

    def run(
        self,
        inputs: dict[str, Any],
        wanted: Sequence[frozenset[Tap]],
        budget: int | None,
        stages: Sequence[Sequence[StageOrder]] | None = None,
    ) -> Iterator[Encoded]:
        """Encode a step's videos part by part.

        Args:
            inputs: as vLLM batched them, ours taken out.
            wanted: what is to be overheard of each video.
            budget: most visual tokens encoded at once; None encodes all in one piece.
            stages: none drops tokens of a video in the tower.
        """
        grids = self.grids(inputs)
        for videos, part in parts(inputs, [math.prod(grid) for grid in grids], budget, self.rows_of_inputs):
            frames = [(height, width) for count, height, width in grids[videos] for _ in range(count)]
            needs = frozenset[Tap]().union(*wanted[videos])
            with self._taps().watching(frames, needs) if needs else nullcontext(Tapped()) as tapped:
                rows = list(self._upstream(**part))
            yield Encoded(videos, rows, _by_video(tapped, grids[videos]))


def _by_video(tapped: Tapped, grids: Sequence[FrameGrid]) -> Tapped:
    """What was overheard of frames, those of each video as one."""
    joined = Tapped()
    for heard, together in ((tapped.attention, joined.attention), (tapped.merger_input, joined.merger_input)):
        left = iter(heard)
        together += [torch.cat([next(left) for _ in range(frames)]) for frames, _, _ in grids if heard]
    return joined
