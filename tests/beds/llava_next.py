"""A tiny LLaVA-NeXT, made of the parts of the LLaVA bed: a base view of 144 tokens, and two or three tiles of as many.

Tiles of 168 pixels in patches of 14, half as long as real ones: a prompt of the tests holds several pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from sppruner_vllm.demo.llava_files import hub_name, write_clip_processor
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .llava import CHAT_TEMPLATE, LONGEST, small_llama, small_vision
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
    pixels = {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": _MOSAICS}
    write_clip_processor(folder, "LlavaNextProcessor", _TILE, pixels)
    return folder
