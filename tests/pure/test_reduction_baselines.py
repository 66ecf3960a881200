"""The comparators: even in both directions, and random but always the same."""

from __future__ import annotations

import pytest
import torch

from reduction_scenes import noise_image
from sppruner_vllm.reduction import ImageTokens, reduce
from sppruner_vllm.reduction.methods.random import draw
from sppruner_vllm.reduction.methods.uniform import lattice


@pytest.mark.parametrize("choose", [lattice, draw])
def test_exactly_the_budget_comes_out_of_every_grid(choose):
    for height in range(1, 13):
        for width in range(1, 13):
            for budget in range(1, height * width + 1):
                picked = choose.__wrapped__(height, width, budget).tolist()
                assert picked == sorted(set(picked)), (height, width, budget)
                assert len(picked) == budget
                assert 0 <= picked[0] <= picked[-1] < height * width


@pytest.mark.parametrize(("height", "width", "budget"), [(36, 36, 288), (24, 24, 64), (27, 48, 144), (10, 60, 50)])
def test_uniform_leaves_no_hole_wider_than_its_spacing(height: int, width: int, budget: int):
    picked = lattice(height, width, budget)
    points = torch.stack([picked // width, picked % width], dim=1).float()
    every = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    farthest = torch.cdist(every, points).amin(1).max().item()
    assert farthest <= 1.25 * (height * width / budget) ** 0.5


def test_uniform_is_no_set_of_stripes():
    picked = lattice(36, 36, 288)
    assert torch.bincount(picked % 36, minlength=36).max() <= 18
    assert torch.bincount(picked // 36, minlength=36).max() <= 18


def test_random_depends_on_the_shape_and_the_budget_only():
    one, other = noise_image((9, 8), 20, seed=0), noise_image((9, 8), 20, seed=1)
    assert torch.equal(reduce([one], "random")[0].kept, reduce([other], "random")[0].kept)


def test_random_differs_between_shapes_of_one_size():
    assert not torch.equal(draw(8, 9, 20), draw(9, 8, 20))


def test_random_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    draw.__wrapped__(5, 5, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_is_spread_over_the_image():
    quarter = draw(40, 40, 400) // 400
    assert torch.bincount(quarter, minlength=4).min() > 70


@pytest.mark.parametrize("method", ["uniform", "random"])
def test_a_caller_may_write_to_what_it_gets(method: str):
    image = ImageTokens(torch.ones(30, 4), (5, 6), None, 7)
    first = reduce([image], method)[0]
    first.kept.zero_()
    assert reduce([image], method)[0].kept.unique().numel() == 7


@pytest.mark.parametrize("method", ["uniform", "random"])
def test_comparators_claim_no_focus(method: str):
    selection = reduce([noise_image((5, 6), 7, seed=0, words=2)], method)[0]
    assert not selection.is_focus.any()
    assert selection.relevance is None
