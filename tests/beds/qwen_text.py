"""Sizes and tokens of the language model of beds that speak like Qwen, with 1-D positions."""

from __future__ import annotations

from typing import Any, Final

LONGEST: Final = 8192

SMALL: Final = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""Sizes of any of them, wherever its positions lie."""


def small_qwen(tokenizer: Any) -> dict[str, Any]:
    """Of a configuration of Qwen2 or Qwen3."""
    ids = tokenizer.get_vocab()
    return {
        "vocab_size": len(tokenizer),
        **SMALL,
        "max_position_embeddings": LONGEST,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
