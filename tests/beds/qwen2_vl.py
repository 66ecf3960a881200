"""A tiny Qwen2-VL: full attention in the encoder, 3-D positions, ChatML turns, Qwen-VL's image limits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from sppruner_vllm.demo.chat_template import CHAT_TEMPLATE
from sppruner_vllm.demo.checkpoint import CLIP_COLOURS, write_json
from sppruner_vllm.demo.tokenizer import build_tokenizer, word_ids
from sppruner_vllm.demo.weights import fill_with_random_weights

from .files import write_checkpoint
from .qwen_text import SMALL

LONGEST: Final = 32768
SEED: Final = 2

_PIXELS: Final = {
    "processor_class": "Qwen2VLProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    **CLIP_COLOURS,
}


def build_qwen2_vl(folder: Path) -> Path:
    """Write the checkpoint; the same bytes each time.

    Returns:
        `folder`.
    """
    tokenizer = build_tokenizer(LONGEST)
    ids = tokenizer.get_vocab()
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            **SMALL,
            "max_position_embeddings": LONGEST,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={"depth": 3, "embed_dim": 64, "hidden_size": 128, "mlp_ratio": 2, "num_heads": 4},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    model = Qwen2VLForConditionalGeneration(config).eval()
    fill_with_random_weights(model, SEED, spoken=word_ids(tokenizer))
    write_checkpoint(folder, model, tokenizer, CHAT_TEMPLATE)
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "Qwen2VLImageProcessor", **_PIXELS})
    write_json(folder / "video_preprocessor_config.json", {"video_processor_type": "Qwen2VLVideoProcessor", **_PIXELS})
    return folder
