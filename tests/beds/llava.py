"""A tiny LLaVA-1.5: CLIP's 576 tokens for any picture, a LLaMA with 1-D positions, Vicuna's turns.

Widths are tiny, counts are real: 336 pixels in patches of 14, rows of the last encoder layer but one, no class token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from transformers import CLIPVisionConfig, LlamaConfig, LlamaTokenizer, LlavaConfig, LlavaForConditionalGeneration

from sppruner_vllm.demo.llava_files import hub_name, write_clip_processor
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .llava_tokenizer import IMAGE, build_llava_tokenizer, spoken_ids

LONGEST: Final = 4096
SEED: Final = 3
TOKENS: Final = 576
"""Of any picture."""

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
