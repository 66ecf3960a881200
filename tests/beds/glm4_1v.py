"""A tiny GLM-4.1V: full attention in the encoder, 3-D positions on half of each head, turns that tokens open."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import Glm4vConfig, Glm4vForConditionalGeneration, Qwen2TokenizerFast

from sppruner_vllm.demo.checkpoint import CLIP_COLOURS, write_json
from sppruner_vllm.demo.tokenizer import SPECIAL_TOKENS, build_tokenizer, word_ids
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .qwen_text import SMALL

LONGEST: Final = 32768
SEED: Final = 2

_TURNS: Final = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
_MEDIA: Final = (
    *("<|begin_of_image|>", "<|image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|video|>", "<|end_of_video|>"),
)

_TEMPLATE: Final = """\
[gMASK]<sop>
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}
{{- part['text'] -}}
{%- elif part['type'] in ('image', 'image_url') -%}
{{- '<|begin_of_image|><|image|><|end_of_image|>' -}}
{%- elif part['type'] in ('video', 'video_url') -%}
{{- '<|begin_of_video|><|video|><|end_of_video|>' -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\\n' -}}
{%- endif -%}
"""

_PIXELS: Final = {
    "processor_class": "Glm4vProcessor",
    "size": {"shortest_edge": 12544, "longest_edge": 1003520},
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    **CLIP_COLOURS,
}


def build_glm4_1v(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = _tokenizer()
    ids = tokenizer.get_vocab()
    config = Glm4vConfig(
        text_config={
            "vocab_size": len(tokenizer),
            **SMALL,
            "max_position_embeddings": LONGEST,
            "rms_norm_eps": 1e-5,
            # As real ones say; transformers has biases whatever is said.
            "attention_bias": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [2, 3, 3],
            },
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 3,
            "hidden_size": 64,
            "num_heads": 4,
            "out_hidden_size": 128,
            "intermediate_size": 256,
        },
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
        tie_word_embeddings=False,
    )
    model = Glm4vForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=word_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, _TEMPLATE)
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Glm4vImageProcessor", **_PIXELS})
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "Glm4vVideoProcessor", **_PIXELS})
    return folder


def _tokenizer() -> Qwen2TokenizerFast:
    """The demo's, with GLM's tokens beside its own."""
    tokenizer = build_tokenizer(LONGEST)
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL_TOKENS, *_TURNS, *_MEDIA]})
    return tokenizer
