"""Rarity: what other tokens of the image have is no sign of a thing of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reduction_scenes import noise_image, padded, seeded
from sppruner_vllm.reduction import ImageTokens, reduce
from sppruner_vllm.reduction.core.batch import pad
from sppruner_vllm.reduction.core.centred import centre
from sppruner_vllm.reduction.core.grid import cell_grid
from sppruner_vllm.reduction.focus_context.rarity import rarity
from sppruner_vllm.reduction.focus_context.saliency import distinctiveness

SIDE = 20
RARE = [45, 97, 151, 262, 333]


def defined(image: ImageTokens) -> Tensor:
    """The definition, token by token: one minus the mean squared cosine to the token in the middle of each cell."""
    height, width = image.grid
    down, across = cell_grid(image.grid, 64)
    middles = [
        ((2 * row + 1) * height // (2 * down)) * width + (2 * column + 1) * width // (2 * across)
        for row in range(down)
        for column in range(across)
    ]
    unit = torch.nn.functional.normalize(image.rows.double().nan_to_num(), dim=1)
    found = 1 - (unit @ unit[middles].T).square().mean(1)
    return torch.where(unit.any(1), found, 0.0)


@pytest.mark.parametrize("offset", [0.0, 2.0, 20.0])
def test_rarity_is_one_minus_the_mean_squared_cosine_to_a_sample(offset: float):
    """In a batch of grids that have samples of other sizes, with a row of zeros and one that is broken."""
    images = [noise_image(grid, 3, seed=seed) for seed, grid in enumerate([(36, 36), (9, 7), (1, 5), (16, 16)])]
    for image in images:
        image.rows.add_(offset)
    images[1].rows[5], images[1].rows[7] = 0, float("nan")
    batch = pad(images)
    got = rarity(centre(batch.space, batch), batch)
    for values, image in zip(got, images, strict=True):
        size = len(image.rows)
        assert (values[:size] - defined(image)).abs().max() < 3e-4
        assert not values[size:].any()


def cluttered(seed: int) -> Tensor:
    """Bare ground, a hundred tokens of clutter of five kinds, and five things of a kind of their own, as loud."""
    generator = seeded(seed)
    rows = torch.randn(256, generator=generator) + 0.3 * torch.randn(SIDE**2, 256, generator=generator)
    kinds = 0.8 * torch.randn(5, 256, generator=generator) + 0.6 * torch.randn(256, generator=generator)
    places = [place for place in torch.randperm(SIDE**2, generator=generator).tolist() if place not in RARE][:100]
    rows[places] += 1.5 * kinds[torch.arange(100) % 5]
    rows[RARE] += 1.5 * torch.randn(5, 256, generator=generator)
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_what_is_rare_stands_out_from_clutter_that_is_as_loud(seed: int):
    """Clutter points away from the mean, of which there is much less than of ground; so the mean alone prefers it."""
    batch = padded(ImageTokens(cluttered(seed), (SIDE, SIDE), None, 5))
    rows = centre(batch.space, batch)
    assert len(set(rarity(rows, batch)[0].topk(10).indices.tolist()) & set(RARE)) >= 4
    assert not set(distinctiveness(rows.units, batch)[0].topk(10).indices.tolist()) & set(RARE)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_question_a_small_budget_finds_what_is_rare_among_clutter(seed: int):
    image = ImageTokens(cluttered(seed), (SIDE, SIDE), None, 20)
    chosen, salient = (set(reduce([image], method)[0].kept.tolist()) for method in ("focus_context", "saliency"))
    assert len(chosen & set(RARE)) >= 3
    assert not salient & set(RARE)
