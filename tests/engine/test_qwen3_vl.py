"""What is peculiar to Qwen3-VL: rows with the levels of DeepStack, videos whose frames have text between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling
from vllm import SamplingParams
from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration as Upstream

from beds import BEDS, Bed
from cases import LANDSCAPE, PORTRAIT, SQUARE, STRIP, Case, picture
from engines import TOKENS, ask, with_video
from recording import recorded_selections
from reference import Reference, last_attention
from sppruner_vllm.worker.taps import Taps
from towers import EVERYTHING
from videos import recorded_positions

PICTURES = [picture(size, 840 + seed) for seed, size in enumerate((SQUARE, PORTRAIT, LANDSCAPE, STRIP))]
HIDDEN, LEVELS = 128, 2
BED = BEDS["qwen3_vl"]


@pytest.fixture(scope="module")
def engine(started: Callable[[Bed], Any]) -> Any:
    return started(BED)


@pytest.fixture(scope="module")
def qwen3(engine: Any) -> Any:
    (model,) = engine.apply_model(lambda model: model)
    return model


@pytest.fixture(scope="module")
def reference(built: Callable[[Bed], Path]) -> Reference:
    return Reference(built(BED))


def test_rows_hold_every_level_and_words_stand_in_front(qwen3: Any) -> None:
    assert (qwen3.family.row_width, qwen3.family.word_width) == (HIDDEN * (1 + LEVELS), HIDDEN)


# Videos


def request(video: tuple[int, int], ratio: float | None) -> dict[str, Any]:
    """Other pictures beside each video, so that nothing is kept of them; a list, as lists are for pictures alone."""
    return with_video(video, None if ratio is None else [ratio, ratio], 910 + video[0])


@pytest.mark.parametrize("video", [(128, 160), (32, 32)], ids=["frames of 20 tokens", "frames of a single token"])
def test_a_video_stays_where_and_what_it_was_beside_reduced_pictures(
    engine: Any, qwen3: Any, video: tuple[int, int]
) -> None:
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    with recorded_positions(qwen3) as whole:
        (stock,) = engine.generate(request(video, None), sampling, use_tqdm=False)
    upstream, _ = Upstream._get_mrope_input_positions(*whole["asked"], qwen3.config)
    assert torch.equal(whole["places"], upstream)
    with recorded_positions(qwen3) as reduced, recorded_selections() as kept:
        (answer,) = engine.generate(request(video, 0.25), sampling, use_tqdm=False)
    assert [len(image) for image in kept] == [25, 25]
    image = engine.get_tokenizer().convert_tokens_to_ids("<|image_pad|>")
    ids = torch.tensor(stock.prompt_token_ids)
    places = (ids == image).nonzero().flatten()
    stays = ids != image
    for own, chosen in zip(places.split([100, 98]), kept, strict=True):
        stays[own[torch.tensor(chosen)]] = True
    assert answer.prompt_token_ids == ids[stays].tolist(), "timestamps and frames are untouched"
    assert torch.equal(reduced["places"], upstream[:, stays])
    assert len(answer.outputs[0].token_ids) == TOKENS


def test_a_place_of_a_video_that_is_not_there_leaves_pictures_whole(engine: Any) -> None:
    given = request((128, 160), 0.25)
    del given["multi_modal_data"]["video"]
    with recorded_selections() as kept:
        (answer,) = engine.generate(given, SamplingParams(max_tokens=2, temperature=0), use_tqdm=False)
    assert kept == []
    assert len(answer.outputs[0].token_ids) > 0


def test_visual_tokens_of_a_video_are_counted_without_its_timestamps(engine: Any) -> None:
    given = request((128, 160), 0.25)
    del given["multi_modal_data"]["image"]
    given["mm_processor_kwargs"] = {"keep_ratio": 0.25}
    given["prompt"] = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|> what<|im_end|>\n"
    processed = engine.llm_engine.input_processor.renderer.render_cmpl([given])
    record = processed[0]["sppruner"]
    assert (record.original, record.retained, record.skipped_reason) == (40, 10, None)


# Embeddings


def test_a_picture_given_as_rows_answers_as_the_picture_itself(engine: Any, qwen3: Any, reference: Reference) -> None:
    sampling = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    inputs = reference.encoder_inputs(PICTURES[:1])
    with torch.inference_mode():
        (rows,) = Upstream.embed_multimodal(qwen3, **inputs)
    prompt = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> what<|im_end|>\n<|im_start|>assistant\n"
    grid = inputs["image_grid_thw"]
    answers = []
    for image in (PICTURES[0], {"image_embeds": rows, "image_grid_thw": grid}):
        given = {"prompt": prompt, "multi_modal_data": {"image": image}, "mm_processor_kwargs": {"keep_ratio": 0.25}}
        with recorded_selections() as kept:
            (answer,) = engine.generate(given, sampling, use_tqdm=False)
        answers.append((kept, list(answer.outputs[0].token_ids)))
    assert answers[0] == answers[1]
    assert len(answers[0][0][0]) == 25


def test_rows_without_their_levels_are_refused_by_name(engine: Any) -> None:
    image = {"image_embeds": torch.zeros(100, HIDDEN), "image_grid_thw": torch.tensor([[1, 20, 20]])}
    prompt = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> what<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(Exception, match="do not fit it: 10 x 10 visual tokens take as many rows of 384 values"):
        engine.generate({"prompt": prompt, "multi_modal_data": {"image": image}}, use_tqdm=False)


# The tower


@pytest.fixture(scope="module")
def overheard(qwen3: Any, reference: Reference) -> tuple[Any, list[Tensor]]:
    """What is tapped of PICTURES, and the rows that come out of the tapped tower."""
    inputs = reference.encoder_inputs(PICTURES)
    grids = qwen3.family.grids(inputs)
    with torch.inference_mode(), Taps(qwen3.family.tap_points(qwen3)).watching(grids, EVERYTHING) as tapped:
        rows = Upstream.embed_multimodal(qwen3, **inputs)
    return tapped, list(rows)


@torch.inference_mode()
def test_the_mergers_input_is_each_tokens_patches_in_raster_order(
    overheard: tuple[Any, list[Tensor]], reference: Reference
) -> None:
    tapped, rows = overheard
    for image, row in zip(tapped.merger_input, rows, strict=True):
        merged = reference.model.model.visual.merger(image.flatten(0, 1))
        assert torch.allclose(merged, row[:, :HIDDEN], rtol=1e-3, atol=1e-4)


def test_the_attention_is_that_of_the_last_block(overheard: tuple[Any, list[Tensor]], reference: Reference) -> None:
    weights, _ = last_attention(reference, modeling, PICTURES)
    tapped, _ = overheard
    for image, matrix in zip(tapped.attention, weights, strict=True):
        truth = matrix[0].mean((0, 1)).view(-1, 4).sum(1)
        assert torch.allclose(image, truth, rtol=1e-3)
        assert truth.std() > 0.1 * truth.mean(), "else the comparison would say nothing"


def test_lora_counts_are_those_of_the_unreduced_image(qwen3: Any) -> None:
    item = {"image_grid_thw": SimpleNamespace(data=torch.tensor([1, 72, 72]))}
    assert qwen3.get_mm_lora_token_counts(modality="image", mm_kwargs=item, num_mm_embeds=288) == (5184, 1296)


# DeepStack


def test_without_its_levels_the_answer_would_have_been_another(engine: Any, reference: Reference) -> None:
    """Guards the comparison of the parity list: what DeepStack adds shows."""
    case = Case((("what is the colour of the cat", (SQUARE,)),), 41)
    with recorded_selections() as kept:
        (answer,) = ask(engine, [case], 0.222)
    prompt = reference.prompt(case, kept)
    right = reference.logits(prompt, prompt.positions)
    assert (answer.logits[0] - right).abs().max() < 2e-3
    flat = reference.logits(replace(prompt, planes=()), prompt.positions)
    assert (answer.logits[0] - flat).abs().max() > 2e-2
