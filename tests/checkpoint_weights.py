"""The weights of a written checkpoint, by the names that the model has for them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Qwen2_5_VLForConditionalGeneration


def checkpoint_weights(folder: Path) -> dict[str, torch.nn.Parameter]:
    """Of a Qwen2.5-VL, in bfloat16."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    return dict(model.named_parameters())
