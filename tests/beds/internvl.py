"""A tiny InternVL 3.5: up to twelve tiles and a thumbnail, of 36 tokens each after the pixel shuffle, Qwen3's turns.

Tiles of 168 pixels in patches of 14. Its image processor says that it does not tile, as real ones do: the processor
around it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    Qwen2TokenizerFast,
    Qwen3Config,
)

from sppruner_vllm.demo.chat_template import CHAT_TEMPLATE
from sppruner_vllm.demo.checkpoint import write_json
from sppruner_vllm.demo.tokenizer import SPECIAL_TOKENS, build_tokenizer, word_ids
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .qwen_text import LONGEST, small_qwen

SEED: Final = 11

TILE: Final = 168
_ROWS: Final = 36
"""Of a tile."""

SMALL_VISION: Final = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}

_MARKS: Final = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
_PIXELS: Final = {
    "processor_class": "InternVLProcessor",
    "size": {"height": TILE, "width": TILE},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

TOKENS: Final = {(336, 336): 180, (224, 448): 108, (504, 252): 324, (56, 840): 468}
"""By width and height of a picture: 36 for each tile and the thumbnail. Tiles, across by down: 2 by 2, 1 by 2, 4 by 2,
1 by 12."""


def build_internvl(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_internvl_tokenizer()
    write_internvl(folder, new_internvl(tokenizer, Qwen3Config(**small_qwen(tokenizer), head_dim=32)), tokenizer)
    return folder


def new_internvl(tokenizer: Qwen2TokenizerFast, text: Any) -> InternVLForConditionalGeneration:
    """The model with its weights, float32. Args: text: configuration of its language model."""
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            **SMALL_VISION, image_size=[TILE, TILE], patch_size=[14, 14], attention_bias=True
        ),
        text_config=text,
        image_token_id=tokenizer.get_vocab()[_MARKS["context_image_token"]],
        image_seq_length=_ROWS,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=word_ids(tokenizer))
    return model


def write_internvl(folder: Path, model: InternVLForConditionalGeneration, tokenizer: Qwen2TokenizerFast) -> None:
    """The files of transformers' format."""
    picture = "'<|vision_start|><|image_pad|><|vision_end|>'"
    video = "'<|vision_start|><|video_pad|><|vision_end|>'"
    template = CHAT_TEMPLATE.replace(picture, "'<IMG_CONTEXT>\\n'").replace(video, "'<video>\\n'")
    write_checkpoint(folder, model, tokenizer, template)
    write_json(
        folder / "preprocessor_config.json",
        {"image_processor_type": "GotOcr2ImageProcessor", "crop_to_patches": False, **_PIXELS},
    )
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "InternVLVideoProcessor", **_PIXELS})
    write_json(folder / "processor_config.json", {"processor_class": "InternVLProcessor", "image_seq_length": _ROWS})


def build_internvl_tokenizer() -> Qwen2TokenizerFast:
    """The demo's, with the names by which InternVL's processor finds its marks."""
    demo = build_tokenizer(LONGEST)
    return Qwen2TokenizerFast(
        tokenizer_object=demo.backend_tokenizer,
        eos_token=demo.eos_token,
        pad_token=demo.pad_token,
        unk_token=None,
        model_max_length=LONGEST,
        extra_special_tokens={**_MARKS, **{f"mark_{place}": mark for place, mark in enumerate(SPECIAL_TOKENS)}},
    )
