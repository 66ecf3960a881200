"""A tiny Qwen3-VL, dense or with experts: DeepStack behind two blocks, interleaved 3-D positions, normed heads.

Patches of 16 pixels, as the real one. Its limits of a picture's size are smaller: a step of these tests is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from sppruner_vllm.demo.chat_template import CHAT_TEMPLATE
from sppruner_vllm.demo.checkpoint import write_json
from sppruner_vllm.demo.tokenizer import build_tokenizer, word_ids
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint

LONGEST: Final = 32768
SEED: Final = 8
EXPERTS_SEED: Final = 8
CELL: Final = 32

_PIXELS: Final = {
    "processor_class": "Qwen3VLProcessor",
    "size": {"shortest_edge": 4096, "longest_edge": 1048576},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}

_FRAMES: Final = {**_PIXELS, "size": {"shortest_edge": 4096, "longest_edge": 4194304}}
"""Of all pictures of a video together: 128 of the tests' stay as they are."""

_TEXT: Final[dict[str, Any]] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": LONGEST,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5_000_000.0,
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
    },
}

_EXPERTS: Final[dict[str, Any]] = {
    # Twice this is no other width: transformers turns the experts of a checkpoint by their shape.
    "moe_intermediate_size": 96,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
}


def build_qwen3_vl(folder: Path) -> Path:
    """Write the dense checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    return _build(folder, SEED, Qwen3VLConfig, Qwen3VLForConditionalGeneration, {})


def build_qwen3_vl_moe(folder: Path) -> Path:
    """Write the checkpoint with experts; the same bytes each time.

    Returns:
        `folder`.
    """
    return _build(folder, EXPERTS_SEED, Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration, _EXPERTS)


def _build(folder: Path, seed: int, config_class: Any, model_class: Any, more: dict[str, Any]) -> Path:
    tokenizer = build_tokenizer(LONGEST)
    ids = tokenizer.get_vocab()
    config = config_class(
        text_config={
            **_TEXT,
            **more,
            "vocab_size": len(tokenizer),
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [0, 2],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    model = model_class(config).eval()
    fill_with_random_weights(model, seed, spoken=word_ids(tokenizer))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".experts." in name:
                # Drawn as one matrix of all its numbers, where each expert is one of its own.
                weight.mul_(weight.shape[1] ** 0.5)
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE, lay_out=_as_on_the_hub)
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessor", **_PIXELS})
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "Qwen3VLVideoProcessor", **_FRAMES})
    return folder


def _as_on_the_hub(name: str, weight: Tensor) -> Tensor:
    """Experts stand there with their inputs first."""
    return weight.transpose(1, 2) if ".experts." in name else weight
