"""What is peculiar to LLaVA-1.5: positions on a line, as far as the model knows any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from beds import build_llava
from cases import SQUARE, Case
from engines import ask, same_answer, start_engine
from recording import recorded_selections
from reference import Reference

CONTEXT = 1200
TWO = Case((("what is the colour of the cat", (SQUARE, SQUARE)),), 190)
"""1,152 visual tokens, so that 48 positions are left in the context."""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows few positions."""
    folder = build_llava(tmp_path_factory.mktemp("llava") / "model")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = CONTEXT
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def engine(short: Path) -> Any:
    return start_engine(short, max_model_len=CONTEXT, limit_mm_per_prompt={"image": 3})


def test_an_answer_goes_on_behind_the_context_as_in_transformers(engine: Any, short: Path) -> None:
    with recorded_selections() as kept:
        (answer,) = ask(engine, [TWO], 0.1111, tokens=90)
    assert answer.prompt < 2 * 64 + 48
    tokens, logits = Reference(short).answer(TWO, kept, 90)
    same_answer(answer, tokens, logits)


def test_a_prompt_that_ratio_1_would_refuse_is_refused_by_name(engine: Any) -> None:
    three = Case((("what", (SQUARE, SQUARE, SQUARE)),), 191)
    with pytest.raises(VLLMValidationError, match="before reduction this prompt has 17") as refusal:
        ask(engine, [three], 0.1111)
    assert refusal.value.parameter == "keep_ratio"
    (answer,) = ask(engine, [TWO], 0.1111)
    assert len(answer.tokens) > 0, "the engine goes on"


@pytest.mark.parametrize("tokens", [576, 100])
def test_an_image_given_as_embeddings_is_reduced_too(engine: Any, tokens: int) -> None:
    rows = torch.randn(tokens, engine.llm_engine.model_config.get_inputs_embeds_size(), generator=torch.manual_seed(0))
    request = {
        "prompt": "USER: <image>\nwhat is it ASSISTANT:",
        "multi_modal_data": {"image": [rows]},
        "mm_processor_kwargs": {"keep_ratio": 0.25},
    }
    with recorded_selections() as kept:
        (output,) = engine.generate(request, SamplingParams(max_tokens=4, temperature=0), use_tqdm=False)
    assert [len(image) for image in kept] == [tokens // 4]
    assert len(output.outputs[0].token_ids) > 0


@pytest.mark.parametrize("method", ["downscale", "hybrid"])
def test_a_smaller_picture_cannot_be_sent(engine: Any, method: str) -> None:
    """Every picture is brought to one size again: downscale leaves it whole, hybrid only selects."""
    one = Case((("what is it", (SQUARE,)),), 192)
    with recorded_selections() as kept:
        (answer,) = ask(engine, [one], 0.25, reduction_method=method)
    assert [len(image) for image in kept] == ([144] if method == "hybrid" else [])
    assert answer.prompt > (144 if method == "hybrid" else 576)


def test_preempted_requests_answer_as_alone(short: Path) -> None:
    """Their rows are placed anew when they come back."""
    cases = [Case(((f"what is the colour of the {thing}", (SQUARE,)),), 193) for thing in ("cat", "dog", "house")]
    roomy = start_engine(short, max_model_len=CONTEXT)
    alone = [ask(roomy, [case], 0.3333, tokens=96)[0].tokens for case in cases]
    tight = start_engine(
        short, max_model_len=640, num_gpu_blocks_override=24, max_num_seqs=4, enable_prefix_caching=False
    )
    together = ask(tight, cases, 0.3333, tokens=96)
    (preempted,) = [metric.value for metric in tight.get_metrics() if metric.name == "vllm:num_preemptions"]
    assert preempted > 0
    assert [answer.tokens for answer in together] == alone
