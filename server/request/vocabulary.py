"""Which token ids there are: those of the tokenizer, and those that the model may sample beyond them."""

from __future__ import annotations

from typing import Any


def highest_token(renderer: Any) -> int:
    """The largest id, of vLLM's BaseRenderer."""
    return max(int(renderer.get_tokenizer().max_token_id), int(renderer.model_config.get_vocab_size()) - 1)
