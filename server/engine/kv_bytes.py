"""What a prompt token takes in the KV cache."""

from __future__ import annotations

from typing import Any

from vllm.utils.torch_utils import kv_cache_dtype_str_to_dtype


def kv_bytes_per_token(config: Any) -> int:
    """Bytes of keys and values of one token, in all layers and on all ranks together.

    Args:
        config: vLLM's VllmConfig.
    """
    model = config.model_config
    width = model.get_total_num_kv_heads() * model.get_head_size()
    number = kv_cache_dtype_str_to_dtype(config.cache_config.cache_dtype, model).itemsize
    return int(2 * width * model.get_total_num_hidden_layers() * number)
