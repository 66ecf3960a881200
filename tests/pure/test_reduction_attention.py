"""Column attention as a second voice in saliency."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reduction_scenes import noise_image, scene, seeded
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce

GRID = (10, 12)


def image(attention: torch.Tensor | None, seed: int = 0) -> ImageTokens:
    return ImageTokens(scene(GRID, [(2, 2, 3, 3)], seed=seed), GRID, None, 20, attention)


def rank_scaled(values: torch.Tensor) -> torch.Tensor:
    ordered = values.sort().values
    low, high = ordered[1], ordered[-2]  # one per cent of 119
    return ((values - low) / (high - low)).clamp(0, 1)


@pytest.mark.parametrize("method", ["focus_context", "saliency"])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_saliency_is_blended_with_the_attention_received(method: str, share: float):
    attention = torch.rand(120, generator=seeded(1)) ** 3
    params = FocusContextParams(attention_share=share)
    alone = reduce([image(None)], method)[0].saliency
    blended = reduce([image(attention)], method, params=params)[0].saliency
    assert (blended - ((1 - share) * alone + share * rank_scaled(attention))).abs().max() < 1e-5


@pytest.mark.parametrize("method", ["focus_context", "saliency"])
def test_a_share_of_zero_ignores_attention(method: str):
    attention = torch.rand(120, generator=seeded(2))
    mute = reduce([image(attention)], method, params=FocusContextParams(attention_share=0.0))[0]
    assert torch.equal(mute.scores, reduce([image(None)], method)[0].scores)


def test_attention_moves_the_choice():
    attention = torch.zeros(120)
    attention[100:110] = 1.0
    with_it, without = reduce([image(attention), image(None)], "saliency")
    assert (
        torch.isin(torch.arange(100, 110), with_it.kept).sum() > torch.isin(torch.arange(100, 110), without.kept).sum()
    )


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 7.0, 1e12])
def test_only_the_proportions_of_attention_count(scale: float):
    attention = torch.rand(120, generator=seeded(3))
    plain, scaled = (reduce([image(given)], "saliency")[0].saliency for given in (attention, attention * scale))
    assert (plain - scaled).abs().max() < 1e-5


def test_broken_attention_counts_as_none_received():
    attention = torch.rand(120, generator=seeded(4))
    clean, broken = attention.clone(), attention.clone()
    clean[:4] = 0.0
    broken[:4] = torch.tensor([torch.nan, torch.inf, -1.0, -2.0])
    assert torch.equal(*(reduce([image(given)], "saliency")[0].saliency for given in (clean, broken)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_attention_comes_in_any_float_type(dtype: torch.dtype):
    attention = (torch.rand(120, generator=seeded(5)) * 8).round() / 8
    assert torch.equal(*(reduce([image(attention.to(kind))])[0].scores for kind in (dtype, torch.float32)))


@pytest.mark.parametrize("method", ["focus_context", "saliency"])
def test_an_image_without_attention_is_not_touched_by_one_that_has_it(method: str):
    bare = noise_image((7, 9), 15, seed=6, width=256)
    company = image(torch.rand(120, generator=seeded(7)))
    for together, alone in zip(reduce([bare, company], method), (bare, company), strict=True):
        assert torch.equal(together.scores, reduce([alone], method)[0].scores)


def test_flat_attention_says_nothing_and_halves_what_the_rows_say():
    flat = reduce([image(torch.full((120,), 0.3))], "saliency")[0].saliency
    assert (flat - reduce([image(None)], "saliency")[0].saliency / 2).abs().max() < 1e-5


def test_attention_of_one_token_alone_is_accepted():
    single = replace(noise_image((1, 1), 1, seed=8), attention=torch.ones(1))
    assert reduce([single])[0].kept.tolist() == [0]
