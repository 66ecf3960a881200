"""A tiny InternVL 3 in its original format: the other bed's encoder before a Qwen2, and names and files of its own.

Its rotary table is called dynamic, as that of real ones. transformers does not know the format: beside the checkpoint
stands the same model in the one that it knows.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from transformers import Qwen2Config

from sppruner_vllm.demo.checkpoint import write_json

from .files import write_weights
from .internvl import SMALL_VISION, TILE, build_internvl_tokenizer, new_internvl, write_internvl
from .qwen_text import small_qwen
from .remote_code.configuration_internvl_chat import InternVLChatConfig

_CODE: Final = Path(__file__).parent / "remote_code" / "configuration_internvl_chat.py"

_TEMPLATE: Final = """\
{%- if not messages or messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""Of text alone: vLLM writes the places of pictures into it."""

_NAMES: Final = (
    ("model.vision_tower.", "vision_model."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.multi_modal_projector.layer_norm.", "mlp1.0."),
    ("model.multi_modal_projector.linear_1.", "mlp1.1."),
    ("model.multi_modal_projector.linear_2.", "mlp1.3."),
    (".embeddings.cls_token", ".embeddings.class_embedding"),
    (".embeddings.patch_embeddings.projection.", ".embeddings.patch_embedding."),
    (".embeddings.position_embeddings", ".embeddings.position_embedding"),
    (".encoder.layer.", ".encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_1", ".ls1"),
    (".lambda_2", ".ls2"),
)
"""Names of weights, in transformers and in the original format."""

_QUERY: Final = ".attention.q_proj."
"""Of the encoder: here queries, keys and values are one."""


def new_internvl_chat_config() -> InternVLChatConfig:
    """A configuration as vLLM has it, which gives the language model's part the name it has elsewhere."""
    config = InternVLChatConfig({"image_size": TILE, "patch_size": 14}, {}, downsample_ratio=0.5)
    config.text_config = config.llm_config
    return config


def build_internvl_chat(folder: Path) -> Path:
    """Write the checkpoint, and its twin; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_internvl_tokenizer()
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    text = Qwen2Config(**small_qwen(tokenizer), rope_parameters=rope)
    model = new_internvl(tokenizer, text)
    write_internvl(folder.with_name(f"{folder.name}-transformers"), model, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, _in_original_format(model.state_dict()), tokenizer, _TEMPLATE)
    shutil.copyfile(_CODE, folder / _CODE.name)
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternVLChatModel"],
            "auto_map": {"AutoConfig": f"{_CODE.stem}.InternVLChatConfig"},
            "model_type": "internvl_chat",
            "dtype": "float32",
            "llm_config": {**text.to_diff_dict(), "architectures": ["Qwen2ForCausalLM"]},
            "vision_config": {
                **SMALL_VISION,
                "image_size": TILE,
                "patch_size": 14,
                "num_channels": 3,
                "hidden_act": "gelu",
                "norm_type": "layer_norm",
                "layer_norm_eps": 1e-6,
                "qkv_bias": True,
                "qk_normalization": False,
                "initializer_factor": 0.1,
            },
            "select_layer": -1,
            "force_image_size": TILE,
            "downsample_ratio": 0.5,
            "ps_version": "v2",
            "dynamic_image_size": True,
            "use_thumbnail": True,
            "min_dynamic_patch": 1,
            "max_dynamic_patch": 12,
            "tie_word_embeddings": False,
        },
    )
    return folder


def _in_original_format(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, weight in weights.items():
        if ".vision_tower." in name and (".k_proj." in name or ".v_proj." in name):
            continue
        if ".vision_tower." in name and _QUERY in name:
            weight = torch.cat([weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
            name = name.replace(_QUERY, ".attn.qkv.")
        for theirs, ours in _NAMES:
            name = name.replace(theirs, ours)
        found[name] = weight
    return found
