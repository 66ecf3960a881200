"""A tiny LLaVA-NeXT, made of the parts of the LLaVA bed: a base view of 144 tokens, and two or three tiles of as many.

Tiles of 168 pixels in patches of 14, half as long as real ones: a prompt of the tests holds several pictures.
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

_TILE: Final = 168
_MOSAICS: Final = [[168, 336], [336, 168], [168, 504], [504, 168]]

TOKENS: Final = {(336, 336): 300, (224, 448): 456, (504, 252): 444, (56, 840): 252}
"""By width and height of a picture: 144 and, of the mosaic without its padding, h * (w + 1): 12 by 12, 24 by 12,
12 by 24, 36 by 2."""


def build_llava_next(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_llava_tokenizer(LONGEST)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**small_vision() | {"image_size": _TILE}),
        text_config=LlamaConfig(**small_llama(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=_MOSAICS,
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
            "size": {"shortest_edge": _TILE},
            "crop_size": {"height": _TILE, "width": _TILE},
            "image_grid_pinpoints": _MOSAICS,
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
