"""The formula of the vision encoder's operations, against a counted run of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLForConditionalGeneration

from sppruner_vllm.demo.checkpoint import new_model
from sppruner_vllm.demo.tiny_spec import TinyModelSpec
from sppruner_vllm.demo.tokenizer import build_tokenizer
from sppruner_vllm.evaluation.encoder_flops import (
    QWEN2_5_VL_3B,
    QWEN2_5_VL_7B,
    QWEN2_5_VL_ENCODER,
    EncoderShape,
    encoder_flops,
    encoder_share,
)

SPEC = TinyModelSpec(vision_depth=4, whole_image_blocks=(1, 3))


@pytest.fixture(scope="module")
def model() -> Qwen2_5_VLForConditionalGeneration:
    model = new_model(SPEC, build_tokenizer(SPEC.max_position))
    model.set_attn_implementation("eager")  # products of matrices, which the counter sees
    return model


@pytest.mark.parametrize("side", [4, 8, 12])
def test_the_formula_is_what_a_run_counts(model: Any, side: int) -> None:
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.model.visual(torch.rand(4 * side**2, 1176), grid_thw=torch.tensor([[1, 2 * side, 2 * side]]))
    shape = EncoderShape(SPEC.vision_hidden, SPEC.vision_depth, SPEC.vision_intermediate, whole=2)
    assert counter.get_total_flops() == encoder_flops(shape, side**2, SPEC.hidden)


@pytest.mark.parametrize(("decoder", "percent"), [(QWEN2_5_VL_3B, 48), (QWEN2_5_VL_7B, 29)])
def test_the_encoders_share_of_the_real_models(decoder: Any, percent: int) -> None:
    assert round(100 * encoder_share(QWEN2_5_VL_ENCODER, decoder, 1296, 30)) == percent
