"""A tiny LLaVA-OneVision: SigLIP's tiles without a class token, a mosaic of up to 16 that is shrunk, Qwen2's turns.

Tiles of 84 pixels in patches of 14, 36 tokens each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

from sppruner_vllm.demo.chat_template import CHAT_TEMPLATE
from sppruner_vllm.demo.checkpoint import write_json
from sppruner_vllm.demo.llava_files import hub_name
from sppruner_vllm.demo.tokenizer import build_tokenizer, word_ids
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .qwen_text import LONGEST, small_qwen

SEED: Final = 11

_TILE: Final = 84
_MOSAICS: Final = [[_TILE * down, _TILE * across] for down in range(1, 5) for across in range(1, 5)]
_PIXELS: Final = {
    "processor_class": "LlavaOnevisionProcessor",
    "size": {"height": _TILE, "width": _TILE},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}

TOKENS: Final = {(336, 336): 378, (224, 448): 348, (504, 252): 336, (56, 840): 108}
"""By width and height of a picture: 36 and, of the mosaic as it is left, h * (w + 1): 18 by 18, 24 by 12, 12 by 24,
24 by 2."""


def build_llava_onevision(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_tokenizer(LONGEST)
    ids = tokenizer.get_vocab()
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=_TILE,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(**small_qwen(tokenizer)),
        image_token_index=ids["<|image_pad|>"],
        video_token_index=ids["<|video_pad|>"],
        image_grid_pinpoints=_MOSAICS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=word_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE, rename=hub_name)
    write_json(
        folder / "preprocessor_config.json",
        {"image_processor_type": "LlavaOnevisionImageProcessor", "image_grid_pinpoints": _MOSAICS, **_PIXELS},
    )
    write_json(
        folder / "video_preprocessor_config.json",
        {"video_processor_type": "LlavaOnevisionVideoProcessor", **_PIXELS},
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaOnevisionProcessor",
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "num_image_tokens": 36,
            "vision_feature_select_strategy": "full",
        },
    )
    return folder
