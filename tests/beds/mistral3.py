"""A tiny Mistral 3: a model with pictures that no family of ours is for, made of the parts of the LLaVA bed.

The day there is a family for it, another architecture has to take its place in the tests that ask for stock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig, PixtralVisionConfig

from sppruner_vllm.demo.checkpoint import CLIP_COLOURS, write_json
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .llava import CHAT_TEMPLATE, LONGEST, small_llama
from .llava_tokenizer import IMAGE, build_llava_tokenizer, spoken_ids

SEED: Final = 9
ARCHITECTURE: Final = "Mistral3ForConditionalGeneration"

_PATCH: Final = 14
_LONGEST_EDGE: Final = 336
_TOKENS: Final = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}


def build_mistral3(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_llava_tokenizer(LONGEST)
    tokenizer.add_special_tokens({"additional_special_tokens": list(_TOKENS.values())})
    config = Mistral3Config(
        vision_config=PixtralVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=_LONGEST_EDGE,
            patch_size=_PATCH,
        ),
        text_config=MistralConfig(**small_llama(tokenizer), head_dim=32, sliding_window=None),
        image_token_index=tokenizer.convert_tokens_to_ids(_TOKENS["image_token"]),
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    model = Mistral3ForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=spoken_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE.replace(IMAGE, _TOKENS["image_token"]))
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "PixtralImageProcessor",
            "processor_class": "PixtralProcessor",
            "size": {"longest_edge": _LONGEST_EDGE},
            "patch_size": _PATCH,
            **CLIP_COLOURS,
        },
    )
    write_json(
        folder / "processor_config.json",
        {"processor_class": "PixtralProcessor", "patch_size": _PATCH, "spatial_merge_size": 2, **_TOKENS},
    )
    return folder
