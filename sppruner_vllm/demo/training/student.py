"""The model in training: its two halves, the meeting place between them, and what is thrown away afterwards.

The vision encoder learns to say what each token shows, as a sum of fixed directions, one per feature; the language
model learns to read such sums. Both can be taught apart, and only then together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.demo.checkpoint import new_model
from sppruner_vllm.demo.forward import encode
from sppruner_vllm.demo.tiny_spec import TinyModelSpec
from sppruner_vllm.demo.vocabulary import COLOURS, FEATURE_INDEX, FEATURES, OBJECTS, PLURALS, SHAPES
from sppruner_vllm.demo.world.layout import TOKEN
from sppruner_vllm.demo_model import CHECKPOINT

from .packing import token_ids, tokenizer

DEMO_SPEC: Final = TinyModelSpec(
    hidden=256,
    layers=5,
    heads=8,
    kv_heads=8,
    intermediate=512,
    vision_hidden=128,
    vision_depth=4,
    vision_heads=4,
    vision_intermediate=320,
    whole_image_blocks=(1, 3),
    rope_theta=10.0,
    dtype="bfloat16",
)
"""Sizes of the trained demo model. A base of 10 gives every rotary frequency a period that a grid of 16 can show."""

LARGEST_GRID: Final = 448 // TOKEN


def look(model: Any, pictures: Tensor) -> Tensor:
    """Visual tokens, (B, N, D) in raster order, that a Qwen2.5-VL makes of pictures (B, 3, H, W) uint8."""
    return encode(model.model.visual, pictures)


@dataclass(frozen=True, slots=True)
class Student:
    """model: what is kept. reader: from visual tokens to features. probes: from hidden states to a token's row, column,
    picture and neighbour. directions: (features, D), rows of unit length. The wild bed's has neither (wild.py).
    look: visual tokens, given the model and pictures.
    """

    model: Any
    reader: nn.Module
    probes: nn.ModuleDict
    directions: Tensor
    look: Callable[[Any, Tensor], Tensor] = look

    @property
    def visual(self) -> Any:
        return self.model.model.visual

    @property
    def language(self) -> Any:
        return self.model.model.language_model

    def parts(self) -> dict[str, nn.Module]:
        """Everything that learns, by name."""
        return {"model": self.model, "reader": self.reader, "probes": self.probes}


@lru_cache(maxsize=1)
def demo_model() -> Qwen2_5_VLForConditionalGeneration:
    """The demo model as it is shipped, float32: what other models begin from. Nobody may change it."""
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32)


def new_student(seed: int) -> Student:
    """A student that knows nothing yet."""
    torch.manual_seed(seed)
    model = new_model(DEMO_SPEC, tokenizer())
    width = DEMO_SPEC.hidden
    things, scenery = torch.randn(width, len(OBJECTS)), torch.randn(width, len(FEATURES) - len(OBJECTS))
    directions = torch.linalg.qr(torch.cat((things, scenery), dim=1))[0].T.contiguous()
    probes = nn.ModuleDict(
        {
            "row": nn.Linear(width, LARGEST_GRID),
            "column": nn.Linear(width, LARGEST_GRID),
            "picture": nn.Linear(width, 2),
            "right of": nn.Linear(width, len(SHAPES) + 1),
            "below": nn.Linear(width, len(SHAPES) + 1),
        }
    )
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        table.copy_(torch.randn_like(table) * width**-0.5)
        for token, feature in named_features():
            table[token] = directions[feature]
    return Student(model, nn.Linear(width, len(FEATURES)), probes, directions)


def named_features() -> list[tuple[int, int]]:
    """(token, feature) for the words of a question that name what a visual token can show."""
    words = [(name, name) for name in (*SHAPES, *COLOURS, "sign", "digit", "number")]
    words += list(zip(PLURALS, SHAPES, strict=True))
    return [(token_ids(f" {word}")[0], FEATURE_INDEX[feature]) for word, feature in words]
