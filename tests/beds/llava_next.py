"""A tiny LLaVA-NeXT: a model with pictures that no family of ours is for, made of the parts of the LLaVA bed.

The day there is a family for it, another architecture has to take its place in the tests that ask for stock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint, write_json
from .llava import CHAT_TEMPLATE, LONGEST, hub_name, small_llama, small_vision
from .llava_tokenizer import IMAGE, build_llava_tokenizer, spoken_ids

SEED: Final = 5
ARCHITECTURE: Final = "LlavaNextForConditionalGeneration"

_TILES: Final = [[336, 672], [672, 336]]


def build_llava_next(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_llava_tokenizer(LONGEST)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**small_vision()),
        text_config=LlamaConfig(**small_llama(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=_TILES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = LlavaNextForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=spoken_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE, rename=hub_name)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "LlavaNextImageProcessor",
            "processor_class": "LlavaNextProcessor",
            "size": {"shortest_edge": 336},
            "crop_size": {"height": 336, "width": 336},
            "image_grid_pinpoints": _TILES,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaNextProcessor",
            "image_token": IMAGE,
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
        },
    )
    return folder
