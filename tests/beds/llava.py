"""A tiny LLaVA-1.5: CLIP's 576 tokens for any picture, a LLaMA with 1-D positions, Vicuna's turns.

Widths are tiny, counts are real: 336 pixels in patches of 14, rows of the last encoder layer but one, no class token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from transformers import CLIPVisionConfig, LlamaConfig, LlamaTokenizer, LlavaConfig, LlavaForConditionalGeneration

from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint, write_json
from .llava_tokenizer import IMAGE, build_llava_tokenizer, spoken_ids

LONGEST: Final = 4096
SEED: Final = 3
TOKENS: Final = 576
"""Of any picture."""

CLIP_COLOURS: Final = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
"""As CLIP takes them."""

CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
{%- if message['role'] != 'system' -%}
{{- message['role'] | upper + ': ' -}}
{%- endif -%}
{%- if message['content'] is string -%}
{{- message['content'] + ' ' -}}
{%- else -%}
{%- for part in message['content'] if part['type'] in ('image', 'image_url') -%}
{{- '<image>\\n' -}}
{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}
{{- part['text'] + ' ' -}}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- 'ASSISTANT:' -}}
{%- endif -%}
"""
"""Turns as LLaVA-1.5 was trained on them: pictures first, then the text."""


def build_llava(folder: Path, *, legacy: bool = True) -> Path:
    """Write the checkpoint; the same bytes each time.

    Args:
        legacy: of the tokenizer, see there.

    Returns:
        `folder`.
    """
    tokenizer = build_llava_tokenizer(LONGEST, legacy=legacy)
    model = new_llava(tokenizer)
    fill_with_random_weights(model, SEED, spoken=spoken_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE, rename=hub_name)
    write_clip_processor(folder, "LlavaProcessor", 336, {"image_processor_type": "CLIPImageProcessor"})
    return folder


def write_clip_processor(folder: Path, processor: str, side: int, pixels: Mapping[str, object]) -> None:
    """The files of a processor for CLIP's encoder.

    Args:
        processor: its class. side: pixels along one of what the encoder gets. pixels: further of what is done to them.
    """
    write_json(
        folder / "preprocessor_config.json",
        {
            "processor_class": processor,
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            **pixels,
            **CLIP_COLOURS,
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": processor,
            "image_token": IMAGE,
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
        },
    )


def new_llava(tokenizer: LlamaTokenizer) -> LlavaForConditionalGeneration:
    """The model with transformers' own initial weights, float32."""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**small_vision()),
        text_config=LlamaConfig(**small_llama(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return LlavaForConditionalGeneration(config).eval()


def small_vision() -> dict[str, Any]:
    """CLIP's sizes."""
    return {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 64,
    }


def small_llama(tokenizer: LlamaTokenizer) -> dict[str, Any]:
    """LLaMA's sizes and tokens."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": 1e-5,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def hub_name(name: str) -> str:
    """The name that LLaVA-1.5's files on the hub have for a parameter: vLLM 0.32 knows no other for the encoder."""
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    name = name.removeprefix("model.")
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
