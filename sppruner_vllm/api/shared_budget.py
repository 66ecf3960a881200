"""One budget for pictures and videos: how large each video is, before what it keeps is part of its name.

vLLM sizes a video as it processes it, so videos that were not seen before are processed ahead; their pixels are kept,
and vLLM's own processing finds them. docs/use/api.md, "A budget for all pictures and videos".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from cachetools import LRUCache
from PIL import Image
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.inputs import MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.pictures.texture import texture
from sppruner_vllm.planning.plan import kept_within
from sppruner_vllm.planning.planner import Sent, claims_of
from sppruner_vllm.planning.query import turn_numbers
from sppruner_vllm.planning.sharing import Claim, shares_of_both
from sppruner_vllm.planning.videos import FrameGrid
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.settings import FEWEST_TOKENS, settings

from .fitting import refuse_misfit
from .identity import video_encoded_as
from .plans import REMEMBERED
from .unprocessed import some_videos
from .videos import VideosMixin

_CHANNELS: Final = 3


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a video's part goes by: its grid, how much of a frame is new on average, and the detail of its first."""

    grid: FrameGrid
    new: float
    texture: float


class SharedBudgetMixin(VideosMixin):
    """The part of ReductionProcessorMixin (processor.py) that is about budgets which videos share."""

    @cached_property
    def _looked(self) -> LRUCache[str, _Looked]:
        """Of each video by hash, for those that come again in every turn of a chat."""
        return LRUCache(maxsize=REMEMBERED)

    def _claims_of_videos(
        self, inputs: ProcessorInputs, request: ReductionRequest, keys: Sequence[str], sent: Sequence[Sent]
    ) -> list[Claim]:
        """What each video may get of a budget that all share; none where there is no such budget.

        Args:
            keys: upstream's hash of each. sent: the images beside them.
        """
        if request.keep_tokens_total is None or not keys or not self._can_reduce_videos(inputs, len(keys), sent):
            return []
        self._look_at(inputs, keys)
        turns = turn_numbers(inputs.prompt, self._video_places(inputs.prompt), self.turns)
        return [_claim(self._looked[key], turn, request) for key, turn in zip(keys, turns, strict=True)]

    def _shares_of_both(
        self, inputs: ProcessorInputs, request: ReductionRequest, sent: Sequence[Sent], claims: Sequence[Claim]
    ) -> tuple[list[int] | None, list[int] | None]:
        """What each picture and each video gets; None where videos share no budget.

        Args:
            claims: of the videos, as above.
        """
        if request.keep_tokens_total is None or not claims:
            return None, None
        pictures = claims_of(sent, self._prompt(inputs), request, settings())
        return shares_of_both(pictures, claims, request.keep_tokens_total)

    def _look_at(self, inputs: ProcessorInputs, keys: Sequence[str]) -> None:
        """Process the videos that are not known yet, and keep their pixels.

        Raises:
            VLLMValidationError: one of them was sent by UUID alone.
        """
        new = [place for place, key in enumerate(keys) if key not in self._looked]
        if not new:
            return
        items = inputs.mm_data_items["video"]
        for place in new:
            if items.get(place) is None:
                raise VLLMValidationError(f"video {place} was sent by uuid only and is not cached", parameter="uuid")
        there = {kind: [True] * len(values) for kind, values in inputs.mm_data_items.items()}
        there["video"] = [place not in new for place in range(len(keys))]
        kwargs = super()._get_cache_missing_processor_kwargs(inputs, there)
        data = MultiModalDataItems({"video": some_videos(items, new)})
        output: Any = super()._apply_hf_processor_main(mm_items=data, hf_kwargs=kwargs)
        if kwargs:
            refuse_misfit(self.family, output)
        algorithm = self.info.ctx.get_mm_config().mm_hasher_algorithm
        made = MultiModalKwargsItems.from_hf_inputs(output, super()._get_mm_fields_config(output, kwargs))["video"]
        self._pixels.keep([video_encoded_as(algorithm, keys[place]) for place in new], made)
        for place, (grid, changes) in zip(new, self._sizes_in(output, [keys[place] for place in new]), strict=True):
            new_share = 1.0 if changes is None else sum(changes) / len(changes)
            self._looked[keys[place]] = _Looked(grid, new_share, texture(_first_picture(items.get(place))))


def _claim(looked: _Looked, turn: int, request: ReductionRequest) -> Claim:
    total, frames = math.prod(looked.grid), looked.grid[0]
    least, most = kept_within(total, request, settings())
    least = min(total, max(least, FEWEST_TOKENS * frames))
    return Claim(total, looked.texture, turn, least, max(least, most), looked.new)


def _first_picture(item: Any) -> Image.Image:
    """Of a video as vLLM's parser holds it, with what is known of it or without."""
    frames = item[0] if isinstance(item, tuple) else item
    first = frames[0]
    if isinstance(first, Image.Image):
        return first
    pixels = np.asarray(first).astype(np.uint8)
    # As transformers tells channels that stand first.
    return Image.fromarray(np.moveaxis(pixels, 0, -1) if pixels.shape[0] == _CHANNELS else pixels)
