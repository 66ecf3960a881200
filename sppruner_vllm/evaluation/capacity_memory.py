"""Capacity, memory: what a request takes of the KV cache, and how many requests fit.

Pure arithmetic of vLLM's paged cache for models whose layers all attend to everything.
docs/operate/scaling.md, "Memory".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DTYPE_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}


@dataclass(frozen=True, slots=True)
class KvShape:
    """What a language model stores per token."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype_bytes: int

    @property
    def bytes_per_token(self) -> int:
        """2 (a key and a value) x layers x kv heads x head dim x bytes of the cache's dtype."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype_bytes


@dataclass(frozen=True, slots=True)
class Pool:
    """The KV cache of one replica, as vLLM pages it. blocks: all of them, as `num_gpu_blocks` of its metrics."""

    blocks: int
    block_size: int
    bytes_per_token: int

    @property
    def usable(self) -> int:
        """blocks - 1: vLLM sets one aside, and `vllm:kv_cache_usage_perc` is a share of the others."""
        return max(self.blocks - 1, 0)


def read_kv_shape(folder: Path, dtype: str | None = None) -> KvShape:
    """The shape in a checkpoint's config.json, from its `text_config` where it has one.

    Args:
        folder: of the checkpoint.
        dtype: of the cache, one of DTYPE_BYTES; None takes the checkpoint's own.

    Raises:
        ValueError: the config lacks a figure, or layers with a sliding window make the formula wrong.
    """
    path = folder / "config.json"
    whole = json.loads(path.read_text())
    text = whole.get("text_config") or whole
    windows = any(kind != "full_attention" for kind in text.get("layer_types") or ())
    if windows or text.get("use_sliding_window"):
        raise ValueError(f"{path}: not all layers attend to everything; the formula would be wrong")
    name = dtype or next(
        (value for part in (whole, text) for key in ("dtype", "torch_dtype") if (value := part.get(key))), None
    )
    if name not in DTYPE_BYTES:
        raise ValueError(f"the cache's dtype must be one of {', '.join(DTYPE_BYTES)}; {path} says {name}")
    try:
        heads = text["num_attention_heads"]
        return KvShape(
            layers=text["num_hidden_layers"],
            kv_heads=text.get("num_key_value_heads") or heads,
            head_dim=text.get("head_dim") or text["hidden_size"] // heads,
            dtype_bytes=DTYPE_BYTES[name],
        )
    except KeyError as missing:
        raise ValueError(f"{path} names no {missing.args[0]}") from missing


def pool(kv_bytes: float, block_size: int, shape: KvShape) -> Pool:
    """The cache that so many bytes hold: floor(bytes / (block size x bytes per token)) blocks."""
    return Pool(int(kv_bytes // (block_size * shape.bytes_per_token)), block_size, shape.bytes_per_token)


def kv_tokens(prompt: float, output: float) -> float:
    """Tokens in the cache when an answer ends: prompt + output - 1, as the last token is never fed back."""
    return prompt + output - 1


def blocks_per_request(prompt: float, output: float, block_size: int) -> int:
    """Blocks a request holds at its end, when it holds most: ceil(KV tokens / block size).

    An upper bound where requests share a prefix: a shared block exists once.
    """
    return math.ceil(kv_tokens(prompt, output) / block_size)


def bytes_per_request(prompt: float, output: float, of: Pool) -> int:
    """Memory a request holds at its end: blocks x block size x bytes per token."""
    return blocks_per_request(prompt, output, of.block_size) * of.block_size * of.bytes_per_token


def concurrent_requests(prompt: float, output: float, of: Pool) -> int:
    """Requests that fit to their end at once: floor(usable blocks / blocks per request). More would be preempted."""
    return of.usable // blocks_per_request(prompt, output, of.block_size)


def usage(requests: int, prompt: float, output: float, of: Pool) -> float:
    """`vllm:kv_cache_usage_perc` with so many requests at their end: requests x blocks per request / usable blocks."""
    return requests * blocks_per_request(prompt, output, of.block_size) / of.usable
