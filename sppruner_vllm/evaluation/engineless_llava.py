"""A LLaVA-1.5 checkpoint without an engine: CLIP's encoder, and positions on a line."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import AutoConfig, LlavaForConditionalGeneration

from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.wire import StageOrder

from .engineless_model import NO_TAPS, EnginelessModel, Seen, Tap


class EnginelessLlava(EnginelessModel):
    """The checkpoint, float32, on the CPU."""

    architecture: ClassVar[Any] = LlavaForConditionalGeneration
    on_a_line: ClassVar[bool] = True

    @torch.no_grad()
    def see(
        self, pictures: Sequence[Image.Image], stages: Sequence[StageOrder] = (), taps: Set[Tap] = NO_TAPS
    ) -> list[Seen]:
        """Encode pictures of any size, each of which is brought to the encoder's.

        Args:
            stages: none drops tokens in this encoder. taps: of these the projector's input alone is to be had.
        """
        pixels = self._processor.image_processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        inside = self._model.model
        states = inside.vision_tower(pixels, output_hidden_states=True).hidden_states
        hidden = states[self._model.config.vision_feature_layer][:, 1:]
        rows = inside.multi_modal_projector(hidden)
        behind = hidden.unsqueeze(2) if "merger_input" in taps else [None] * len(rows)
        sizes = [self.chat.grid(*picture.size) for picture in pictures]
        return [Seen(*each) for each in zip(rows, sizes, [None] * len(rows), behind, strict=True)]

    def _shape(self, grid: Grid, frames: int) -> tuple[int, int, int]:
        return math.prod(grid), 1, 1


def load(model: str) -> EnginelessModel:
    """The checkpoint of that folder or hub name, of either architecture.

    Raises:
        OSError: there is no such checkpoint.
    """
    kind = EnginelessLlava if AutoConfig.from_pretrained(model).model_type == "llava" else EnginelessModel
    return kind(model)
