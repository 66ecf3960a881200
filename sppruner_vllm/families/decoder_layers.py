"""vLLM's decoder layers, run by their own modules and apart from the engine, for the families whose layers are these.

Norms, projections, rotary embedding and MLP are upstream's, so weights per rank, quantisation and all-reduce are right;
only vLLM's attention, which cannot be without a KV cache, is replaced. An adapter's wrapper counts the tokens of the
engine's batch, so the module inside it is taken: questions are read by the base model.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from torch import Tensor, nn
from vllm.model_executor.models.llama import LlamaDecoderLayer
from vllm.model_executor.models.qwen2 import Qwen2DecoderLayer
from vllm.model_executor.models.qwen3 import Qwen3DecoderLayer
from vllm.model_executor.models.qwen3_vl import Qwen3VLDecoderLayer

from sppruner_vllm.family import Attend, TextLayer, TextLayers

_NORMING: Final = (Qwen3DecoderLayer, Qwen3VLDecoderLayer)
"""Those that norm each head of queries and keys."""

_KNOWN: Final = (LlamaDecoderLayer, Qwen2DecoderLayer, *_NORMING)
"""Exactly these: what stands on them may do more."""


def text_layers(language: Any) -> TextLayers | None:
    """The layers of a language model of vLLM's, None where they are of another kind.

    Args:
        language: a `...ForCausalLM`.
    """
    layers = getattr(getattr(language, "model", None), "layers", ())
    if not layers or not all(_is_known(layer) for layer in layers):
        return None
    return TextLayers(partial(_embed, language), [_runner(layer) for layer in layers])


def _is_known(layer: nn.Module) -> bool:
    if type(layer) not in _KNOWN:
        return False
    attention: Any = layer.self_attn
    # Reads to the right, or in pieces, or norms its heads where none should: no checkpoint of our families does.
    unusual = ("dual_chunk_attention_config", "qk_norm")
    return attention.attn.attn_type == "decoder" and not any(getattr(attention, name, None) for name in unusual)


def _embed(language: Any, ids: Tensor) -> Tensor:
    embedded: Tensor = _inside(language.model.embed_tokens)(ids)
    return embedded


def _runner(layer: nn.Module) -> TextLayer:
    return partial(_run, layer)


def _run(
    layer: Any, positions: Tensor, hidden: Tensor, residual: Tensor | None, attend: Attend
) -> tuple[Tensor, Tensor]:
    before = layer.input_layernorm
    hidden, onward = (before(hidden), hidden) if residual is None else before(hidden, residual)
    attention = layer.self_attn
    projected, _ = _inside(attention.qkv_proj)(hidden)
    query, key, value = projected.split([attention.q_size, attention.kv_size, attention.kv_size], dim=-1)
    if isinstance(layer, _NORMING):
        query, key = _normed(attention.q_norm, query), _normed(attention.k_norm, key)
    query, key = attention.rotary_emb(positions, query, key)
    own, keys, values = (part.unflatten(-1, (-1, attention.head_dim)) for part in (query, key, value))
    seen = attend(own, keys, values, attention.scaling)
    hidden, _ = _inside(attention.o_proj)(seen.flatten(1))
    hidden, onward = layer.post_attention_layernorm(hidden, onward)
    wide, _ = _inside(layer.mlp.gate_up_proj)(hidden)
    hidden, _ = _inside(layer.mlp.down_proj)(layer.mlp.act_fn(wide))
    return hidden, onward


def _normed(norm: Any, states: Tensor) -> Tensor:
    """(T, heads * d), each head by itself."""
    by_head: Tensor = norm(states.unflatten(-1, (-1, norm.weight.shape[0])))
    return by_head.flatten(-2)


def _inside(module: Any) -> Any:
    """The module itself, or the one inside an adapter's wrapper."""
    return getattr(module, "base_layer", module)
