"""Column attention of the vision encoder, held against the weights that transformers' eager attention computes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as modeling
from transformers.vision_utils import get_vision_window_index

from cases import LANDSCAPE, PORTRAIT, SQUARE, STRIP, picture
from engines import orders
from reference import Reference, last_attention
from sppruner_vllm.errors import UnsupportedSetup
from sppruner_vllm.reduction import ImageTokens
from sppruner_vllm.settings import Settings
from sppruner_vllm.worker import column_attention as attention
from sppruner_vllm.worker import selecting, served
from sppruner_vllm.worker import startup as gate
from sppruner_vllm.worker.column_attention import visual_tokens_attention
from sppruner_vllm.worker.startup import check_setup

SIZES = (SQUARE, PORTRAIT, LANDSCAPE, STRIP)
TOKENS = (144, 128, 162, 60)


PICTURES = [picture(size, 800 + seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def expected(reference: Reference) -> list[Tensor]:
    """Per image, what each visual token receives in the last block, from the full matrices, in raster order."""
    weights, grids = last_attention(reference, modeling, PICTURES)
    visual = reference.model.model.visual
    columns = torch.cat([matrix[0].mean((0, 1)) for matrix in weights])
    window_index, _ = get_vision_window_index(grids, 2, visual.window_size, visual.patch_size)
    raster = torch.empty(columns.numel() // 4)
    raster[window_index] = columns.view(-1, 4).sum(1)
    return list(raster.split(TOKENS))


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "settings", lambda: Settings(saliency_attention=True))


@pytest.fixture
def seen(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[ImageTokens]:
    """The images that reach the reduction, in the order given."""
    images: list[ImageTokens] = []
    reduce = selecting.reduce

    def watching(given: list[ImageTokens], *args: Any, **kwargs: Any) -> Any:
        images.extend(given)
        return reduce(given, *args, **kwargs)

    monkeypatch.setattr(selecting, "reduce", watching)
    return images


def embed(model: Any, inputs: dict[str, Any], keep: tuple[int, ...], **more: Any) -> None:
    tokens = [height * width for height, width in model.family.grids(inputs)]
    fields = orders(tokens, keep, [torch.empty(0, dtype=torch.int64)] * len(keep))
    with torch.inference_mode():
        model.embed_multimodal(**inputs, **fields, **more)


@pytest.mark.usefixtures("switched_on")
@pytest.mark.parametrize("budget", [4096, 300], ids=["one batch", "micro-batches"])
def test_each_image_carries_the_attention_of_the_last_full_block_in_raster_order(
    model: Any,
    inputs: dict[str, Any],
    expected: list[Tensor],
    seen: list[ImageTokens],
    monkeypatch: pytest.MonkeyPatch,
    budget: int,
) -> None:
    monkeypatch.setattr(model, "_encoder_budget", budget)
    embed(model, inputs, (20, 20, 20, 20))
    for image, truth in zip(seen, expected, strict=True):
        assert image.attention is not None
        assert torch.allclose(image.attention, truth, rtol=1e-4)
        assert image.attention.sum() == pytest.approx(1, abs=1e-4)
        assert truth.std() > 0.1 * truth.mean(), "else the comparison would say nothing"


@pytest.mark.usefixtures("switched_on")
def test_little_memory_at_once_changes_nothing(
    model: Any,
    inputs: dict[str, Any],
    expected: list[Tensor],
    seen: list[ImageTokens],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "MOST_WEIGHTS", 4 * 576 * 7)
    embed(model, inputs, (20, 20, 20, 20))
    for image, truth in zip(seen, expected, strict=True):
        assert image.attention is not None
        assert torch.allclose(image.attention, truth, rtol=1e-4)


def test_no_attention_is_computed_unless_it_is_switched_on(
    model: Any, inputs: dict[str, Any], seen: list[ImageTokens], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(attention, "visual_tokens_attention")
    embed(model, inputs, (20, 20, 20, 20))
    assert [image.attention for image in seen] == [None] * 4


@pytest.mark.usefixtures("switched_on")
def test_no_attention_is_computed_when_nothing_is_reduced(
    model: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(attention, "visual_tokens_attention")
    embed(model, inputs, TOKENS)


@pytest.mark.usefixtures("switched_on")
def test_an_image_given_as_embeddings_has_no_attention(model: Any, seen: list[ImageTokens]) -> None:
    given = {"image_embeds": torch.randn(144, 256), "image_grid_thw": torch.tensor([[1, 24, 24]])}
    embed(model, given, (20,))
    assert [image.attention for image in seen] == [None]


def test_of_a_large_image_evenly_spread_queries_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 2048, 4, 32)
    sampled = visual_tokens_attention(query, key, 4)
    monkeypatch.setattr(attention, "MOST_QUERIES", 2048)
    full = visual_tokens_attention(query, key, 4)
    assert sampled.sum() == pytest.approx(1, abs=1e-4)
    assert not torch.equal(sampled, full)
    assert torch.corrcoef(torch.stack([sampled, full]))[0, 1] > 0.9


def test_the_mean_over_ranks_is_the_mean_over_heads() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 64, 4, 32)
    ranks = [visual_tokens_attention(query[:, part], key[:, part], 4) for part in (slice(0, 2), slice(2, 4))]
    assert torch.allclose(sum(ranks) / 2, visual_tokens_attention(query, key, 4))


def setup(ranks: int = 1, mode: str = "weights", compiled: bool = False) -> Any:
    return SimpleNamespace(
        parallel_config=SimpleNamespace(pipeline_parallel_size=1, tensor_parallel_size=ranks),
        model_config=SimpleNamespace(
            multimodal_config=SimpleNamespace(video_pruning_rate=None, mm_encoder_tp_mode=mode),
            enable_prompt_embeds=False,
        ),
        compilation_config=SimpleNamespace(compile_mm_encoder=compiled),
        lora_config=None,
    )


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_SALIENCY_ATTENTION", "1")
    monkeypatch.setattr(gate, "settings", Settings)
    monkeypatch.setattr(served, "settings", Settings)


@pytest.mark.usefixtures("asked_for")
@pytest.mark.parametrize(
    ("config", "option"),
    [(setup(ranks=2, mode="data"), "--mm-encoder-tp-mode"), (setup(compiled=True), "compile_mm_encoder")],
)
def test_options_that_hide_attention_are_refused(config: Any, option: str) -> None:
    with pytest.raises(UnsupportedSetup, match=option):
        check_setup(config)


@pytest.mark.usefixtures("asked_for")
@pytest.mark.parametrize("config", [setup(), setup(ranks=2), setup(mode="data")])
def test_options_that_show_it_are_accepted(config: Any) -> None:
    check_setup(config)
