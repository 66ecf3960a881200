"""The files of the demo model: a `TinyModelSpec` turned into what transformers and vLLM load.

Written through transformers' own classes where they exist, so that the layout is theirs; the image limits are spelt out
because they are Qwen2.5-VL's, not the classes' defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2TokenizerFast

from .chat_template import CHAT_TEMPLATE
from .forward import MEAN, STD
from .tiny_spec import TinyModelSpec
from .tokenizer import build_tokenizer, word_ids
from .weights import fill_with_random_weights

CLIP_COLOURS: Final = {"image_mean": list(MEAN), "image_std": list(STD)}
"""As CLIP takes them, and Qwen-VL after it."""


def write_checkpoint(folder: Path, spec: TinyModelSpec) -> None:
    """Write configuration, weights, tokenizer, chat template and image limits to a new `folder`."""
    tokenizer = build_tokenizer(spec.max_position)
    model = new_model(spec, tokenizer).eval()
    fill_with_random_weights(model, spec.seed, spoken=word_ids(tokenizer))
    save_checkpoint(folder, spec, model, tokenizer)


def new_model(spec: TinyModelSpec, tokenizer: Qwen2TokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    """A model of this size with transformers' own initial weights, float32."""
    return Qwen2_5_VLForConditionalGeneration(_config(spec, tokenizer))


def save_checkpoint(
    folder: Path, spec: TinyModelSpec, model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2TokenizerFast
) -> None:
    """Write a model and all that serving it takes to `folder`; the weights are cast to the spec's type."""
    model.generation_config = answering(tokenizer)
    model.to(getattr(torch, spec.dtype)).save_pretrained(folder)
    save_chat(folder, tokenizer)
    write_json(folder / "preprocessor_config.json", _pixels("image_processor_type", "Qwen2VLImageProcessor"))
    write_json(folder / "video_preprocessor_config.json", _pixels("video_processor_type", "Qwen2VLVideoProcessor"))


def answering(tokenizer: Qwen2TokenizerFast) -> GenerationConfig:
    """How a model that speaks like the demo answers, and where its answers end."""
    return GenerationConfig(
        do_sample=False,
        eos_token_id=tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]),
        pad_token_id=tokenizer.pad_token_id,
    )


def save_chat(folder: Path, tokenizer: Qwen2TokenizerFast) -> None:
    """Write the tokenizer and the demo's chat template to `folder`."""
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)


def _config(spec: TinyModelSpec, tokenizer: Qwen2TokenizerFast) -> Qwen2_5_VLConfig:
    ids: dict[str, int] = tokenizer.get_vocab()
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": spec.hidden,
            "intermediate_size": spec.intermediate,
            "num_hidden_layers": spec.layers,
            "num_attention_heads": spec.heads,
            "num_key_value_heads": spec.kv_heads,
            "max_position_embeddings": spec.max_position,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": spec.rope_theta,
                "mrope_section": list(spec.mrope_section),
            },
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": spec.vision_depth,
            "hidden_size": spec.vision_hidden,
            "intermediate_size": spec.vision_intermediate,
            "num_heads": spec.vision_heads,
            "out_hidden_size": spec.hidden,
            "fullatt_block_indexes": list(spec.whole_image_blocks),
            "window_size": 112,
            "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        dtype=spec.dtype,
    )


def _pixels(kind: str, processor: str) -> dict[str, object]:
    """Image limits and normalisation as Qwen2.5-VL ships them."""
    return {
        kind: processor,
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        **CLIP_COLOURS,
    }


def write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write a file of a checkpoint."""
    file.write_text(json.dumps(content, indent=2) + "\n")
