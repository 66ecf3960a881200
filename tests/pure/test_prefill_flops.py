"""The formula of prefill operations, against a counted run of transformers and against the paper's figure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaForConditionalGeneration

from beds.llava import LONGEST, TOKENS, new_llava
from beds.llava_tokenizer import build_llava_tokenizer
from sppruner_vllm.evaluation.prefill_flops import LLAVA_1_5_7B, DecoderShape, flops_saved, prefill_flops


@pytest.fixture(scope="module")
def llava() -> LlavaForConditionalGeneration:
    model = new_llava(build_llava_tokenizer(LONGEST))
    model.set_attn_implementation("eager")  # products of matrices, which the counter sees
    return model


def shape_of(text: Any) -> DecoderShape:
    return DecoderShape(
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_width=text.hidden_size // text.num_attention_heads,
        intermediate=text.intermediate_size,
        vocabulary=text.vocab_size,
    )


def counted(model: LlavaForConditionalGeneration, **inputs: Any) -> int:
    """Operations of the language model and its output layer in one forward."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(**inputs, logits_to_keep=1, use_cache=False)
    by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    top = type(model).__name__
    return by_module[f"{top}.model.language_model"] + by_module[f"{top}.lm_head"]


@pytest.mark.parametrize("text", [1, 30])
def test_the_formula_is_what_a_run_with_a_picture_counts(llava: LlavaForConditionalGeneration, text: int) -> None:
    ids = torch.tensor([[llava.config.image_token_id] * TOKENS + [400] * text])
    run = counted(llava, input_ids=ids, pixel_values=torch.rand(1, 3, 336, 336))
    assert run == prefill_flops(shape_of(llava.config.text_config), TOKENS + text)


@pytest.mark.parametrize("tokens", [1, 64, 192])
def test_the_formula_is_what_a_run_of_kept_rows_counts(llava: LlavaForConditionalGeneration, tokens: int) -> None:
    text = llava.config.text_config
    run = counted(llava, inputs_embeds=torch.randn(1, tokens, text.hidden_size))
    assert run == prefill_flops(shape_of(text), tokens)


def test_fewer_key_heads_cost_less() -> None:
    grouped = DecoderShape(hidden=64, layers=1, heads=4, kv_heads=1, head_width=16, intermediate=8, vocabulary=2)
    assert prefill_flops(grouped, 10) == 4 * 10 * 64 * (64 + 16) + 4 * 100 * 64 + 6 * 10 * 64 * 8 + 2 * 64 * 2


@pytest.mark.parametrize(
    ("kept", "text", "percent"), [(192, 0, 67.2), (192, 64, 60.6), (64, 0, 89.1), (64, 64, 80.4), (576, 64, 0.0)]
)
def test_the_cut_for_llava_7b(kept: int, text: int, percent: float) -> None:
    assert round(100 * flops_saved(LLAVA_1_5_7B, TOKENS, kept, text), 1) == percent
