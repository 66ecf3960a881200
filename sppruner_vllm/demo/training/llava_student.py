"""The LLaVA bed before it has learnt anything: CLIP's encoder and a projector, and the demo's language model on a line.

The encoder begins as if it had convolutions: its first parts are the demo's own filters, and each of its heads looks at
one neighbour. The language model begins with the demo's weights.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
)

from sppruner_vllm.demo.forward import MEAN, STD

from .packing import tokenizer
from .student import DEMO_SPEC, Student, demo_model, new_student

SIDE: Final = 448
"""Pixels along the side of what the encoder gets."""
PATCH: Final = 28
GRID: Final = SIDE // PATCH
WIDTH: Final = 384
LAYERS: Final = 4
HEADS: Final = 8

_HALF: Final = DEMO_SPEC.hidden // DEMO_SPEC.heads // 2
_ROW_PAIR: Final = 6
"""The rotary pair that turns once in a row of the grid, so that a column can be told by it."""
_SLOW: Final = 12
"""The first of the pairs that turn eight times more slowly, so that rows can be told by them."""
_THETA: Final = round((2 * math.pi / GRID) ** (-_HALF / _ROW_PAIR), 3)
_PERIODS: Final = tuple(2 * math.pi * _THETA ** (pair / _HALF) for pair in (_SLOW - 1, _SLOW))
_ROPE: Final = {
    "rope_type": "llama3",
    "rope_theta": _THETA,
    "factor": 8.0,
    "original_max_position_embeddings": round(sum(_PERIODS) / 2),
    "low_freq_factor": 1.0,
    "high_freq_factor": 1.04,
}
"""Positions on a line that the demo's language model can do most with before it learns anything: of 240 questions about
scenes told in its own directions it answers 65 % so, 38 % with its own base of 10, none with LLaMA's of 10,000."""

_PLACE: Final = WIDTH // HEADS
"""Columns of a patch's state that say where it is, as many as a head has; the others say what it shows."""
_FASTEST, _SLOWEST = 2.2, 0.2
"""Radians a patch, of the waves by which places are told apart."""
_LOUD: Final = 2.5
"""How loud a patch's place is at first: as loud as what the filters say of a usual patch."""
_SHARPNESS: Final = 5.0
"""Of heads that look at one neighbour: most of their attention goes there."""
_NEIGHBOURS: Final = tuple((down, along) for down in (-1, 0, 1) for along in (-1, 0, 1) if down or along)
"""Where the heads of each layer look at first, in patches."""
_READ: Final = 8.0
"""Logits by which the reader's guess rises from a token that shows nothing of a thing to one that shows all of it."""
_LOUDNESS: Final = 0.5
"""Spread of what a layer adds at first, as a share of the usual."""


def new_llava_student(seed: int) -> Student:
    """The bed's model, and the demo's directions for what its visual tokens are to show."""
    known = new_student(seed)
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(_config())
    demo = demo_model()
    # The language model's parts have the same names in both.
    model.model.language_model.load_state_dict(demo.model.language_model.state_dict())
    model.lm_head.load_state_dict(demo.lm_head.state_dict())
    with torch.no_grad():
        _see_nearby(model.model.vision_tower, demo.model.visual)
    return Student(model, _reader(known.directions), known.probes, known.directions, look)


def _reader(directions: Tensor) -> nn.Linear:
    """Begins by reading what the directions say, which is all that it is to learn."""
    reader = nn.Linear(directions.shape[1], len(directions))
    with torch.no_grad():
        reader.weight.copy_(_READ * directions)
        reader.bias.fill_(-_READ / 2)
    return reader


def look(model: Any, pictures: Tensor) -> Tensor:
    """Visual tokens, (B, N, D) in raster order, of pictures (B, 3, SIDE, SIDE) uint8."""
    mean, std = (torch.tensor(value).view(3, 1, 1) * 255 for value in (MEAN, STD))
    return torch.stack(model.model.get_image_features((pictures - mean) / std).pooler_output)


def _config() -> LlavaConfig:
    ids: dict[str, int] = tokenizer().get_vocab()
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=1024,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            image_size=SIDE,
            patch_size=PATCH,
            projection_dim=DEMO_SPEC.hidden,
            hidden_act="gelu",
        ),
        text_config=Qwen2Config(
            architectures=["Qwen2ForCausalLM"],
            vocab_size=len(tokenizer()),
            hidden_size=DEMO_SPEC.hidden,
            intermediate_size=DEMO_SPEC.intermediate,
            num_hidden_layers=DEMO_SPEC.layers,
            num_attention_heads=DEMO_SPEC.heads,
            num_key_value_heads=DEMO_SPEC.kv_heads,
            max_position_embeddings=DEMO_SPEC.max_position,
            rope_parameters=dict(_ROPE),
            bos_token_id=None,
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
        ),
        image_token_index=ids["<|image_pad|>"],
        image_seq_length=GRID**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def _see_nearby(tower: Any, demo: Any) -> None:
    """Begin with the demo's filters, at all four places of a patch, and with heads that look at neighbours."""
    shown = WIDTH - _PLACE
    filters = _filters(demo.patch_embed.proj.weight.sum(2), shown // 4)
    part = filters.shape[-1]
    embeddings = tower.embeddings
    kernel = embeddings.patch_embedding.weight.zero_()
    for place in range(4):
        down, along = place // 2 * part, place % 2 * part
        kernel[place * len(filters) : (place + 1) * len(filters), :, down : down + part, along : along + part] = filters
    places = embeddings.position_embedding.weight.zero_()
    places[1:, shown:] = _LOUD * _waves()
    for layer in tower.encoder.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for module, loudness in (
            (attention.q_proj, 1.0),
            (attention.k_proj, 1.0),
            (attention.v_proj, 1.0),
            (attention.out_proj, _LOUDNESS),
            (mlp.fc1, 1.0),
            (mlp.fc2, _LOUDNESS),
        ):
            module.weight.normal_(std=loudness / math.sqrt(module.weight.shape[1]))
            module.bias.zero_()
        for head, (down, along) in enumerate(_NEIGHBOURS):
            own = slice(head * _PLACE, (head + 1) * _PLACE)
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight[own] = 0
            attention.q_proj.weight[own, shown:] = _SHARPNESS * _shift(down, along)
            attention.k_proj.weight[own, shown:] = torch.eye(_PLACE)


def _filters(kernel: Tensor, number: int) -> Tensor:
    """(number, C, S, S) filters that say most of what those of a kernel (filters, C, S, S) say, each as loud as any."""
    _, _, main = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
    chosen: Tensor = main[:number].view(-1, *kernel.shape[1:])
    return chosen


def _rates() -> Tensor:
    number = _PLACE // 4
    return torch.tensor([_FASTEST * (_SLOWEST / _FASTEST) ** (step / (number - 1)) for step in range(number)])


def _waves() -> Tensor:
    """(N, _PLACE) cosines and sines of each patch's row, then of its column."""
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * _rates() for axis in (rows, columns)]
    return torch.cat([wave for angle in angles for wave in (angle.cos(), angle.sin())], dim=1)


def _shift(down: int, along: int) -> Tensor:
    """(_PLACE, _PLACE) what makes the waves of a place those of the place so many patches below and right of it."""
    turn = torch.zeros(_PLACE, _PLACE)
    number = _PLACE // 4
    for axis, step in enumerate((down, along)):
        angle = _rates() * step
        cos, sin = (torch.arange(number) + (2 * axis + part) * number for part in (0, 1))
        turn[cos, cos] = turn[sin, sin] = angle.cos()
        turn[cos, sin], turn[sin, cos] = -angle.sin(), angle.sin()
    return turn
