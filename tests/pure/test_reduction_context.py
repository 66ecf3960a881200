"""The context: what the focus set does not say, and no region left blind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reduction_scenes import noise_image, padded, scene
from sppruner_vllm.reduction import FocusContextParams, ImageTokens, reduce
from sppruner_vllm.reduction.core import exact
from sppruner_vllm.reduction.core.batch import Batch
from sppruner_vllm.reduction.core.grid import cell_grid
from sppruner_vllm.reduction.focus_context.context import quota, scan, weights
from sppruner_vllm.reduction.focus_context.curves import curve

GRID = (20, 24)


def keys(batch: Batch, score: Tensor) -> Tensor:
    return batch.keys(exact.steps(score))


def marked(batch_shape: torch.Size, *indices: int) -> Tensor:
    mask = torch.zeros(batch_shape, dtype=torch.bool)
    mask[0, list(indices)] = True
    return mask


@pytest.mark.parametrize("budget", [4, 8, 30, 100, 250])
@pytest.mark.parametrize("seed", range(3))
def test_every_coarse_cell_keeps_a_token(budget: int, seed: int):
    params = FocusContextParams()
    rows = scene(GRID, [(3, 3, 4, 4)], seed=seed)
    kept = reduce([ImageTokens(rows, GRID, None, budget)])[0].kept
    down, across = cell_grid(GRID, int(budget * params.quota_share))
    assert down * across >= 1
    cells = (kept // 24) * down // 20 * across + (kept % 24) * across // 24
    assert set(cells.tolist()) == set(range(down * across))


def test_a_region_without_anything_salient_keeps_a_token_before_the_last_of_the_focus():
    """Things fill the left half, enough of them for the whole budget."""
    rows = scene((8, 16), [(0, 0, 4, 4), (4, 4, 4, 4)], seed=3, noise=0.1)
    selection = reduce([ImageTokens(rows, (8, 16), None, 16)])[0]
    there = selection.kept % 16 >= 8
    assert there.any()
    assert (~there).sum() > there.sum()


def test_a_cell_that_holds_focus_gets_no_token_of_its_own():
    batch = padded(noise_image((8, 8), 24, seed=0))
    down, across = cell_grid((8, 8), 6)
    focus = marked(batch.real.shape, 0, 1)
    placed = quota(keys(batch, torch.rand(batch.real.shape).double()), focus, batch, FocusContextParams())
    assert placed.sum() == down * across - 1
    cell = torch.arange(64) // 8 * down // 8 * across + torch.arange(64) % 8 * across // 8
    assert 0 not in cell[placed[0, :64]].tolist()


def test_a_blank_image_is_sampled_evenly():
    kept = reduce([ImageTokens(torch.ones(480, 16), GRID, None, 120)])[0].kept
    quadrant = kept // 24 // 10 * 2 + kept % 24 // 12
    assert torch.bincount(quadrant, minlength=4).min() >= 20


def test_no_token_weighs_less_than_the_floor():
    bare = torch.zeros(1, 12).double()
    assert (
        weights(bare, FocusContextParams(context_floor=0.2, context_saliency=1.0))[0].tolist()
        == [pytest.approx(0.2, abs=1e-5)] * 12
    )


def test_things_weigh_more_than_bare_ground():
    batch = padded(noise_image((3, 4), 4, seed=6))
    salient = torch.zeros(batch.real.shape).double()
    salient[0, 5] = 1.0
    got = weights(salient, FocusContextParams(context_floor=0.1, context_saliency=0.8))
    assert got[0, 5] == 1
    assert got[0, [4, 6]].tolist() == pytest.approx([0.1 + 0.9 * 0.2] * 2, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 5, 16, 64])
def test_equal_weights_put_one_token_on_each_equal_piece_of_the_curve(count: int):
    batch = padded(noise_image((8, 8), 20, seed=7))
    flat = torch.full(batch.real.shape, 0.5).double()
    nothing = marked(batch.real.shape)
    chosen = scan(keys(batch, flat), flat, nothing, torch.tensor([[count]]), batch, "hilbert")
    assert chosen.sum() == count
    place = torch.empty(64, dtype=torch.int64).scatter_(0, curve("hilbert", 8, 8), torch.arange(64))
    assert sorted((place[chosen[0, :64]] * count // 64).tolist()) == list(range(count))


def test_heavier_stretches_get_more_tokens():
    batch = padded(noise_image((8, 8), 20, seed=8))
    weight = torch.full(batch.real.shape, 0.1).double()
    weight[0, 32:64] = 0.3
    nothing = marked(batch.real.shape)
    chosen = scan(keys(batch, weight), weight, nothing, torch.tensor([[16]]), batch, "raster")
    assert chosen[0, 32:].sum() == 12


def test_each_run_gives_its_best_token():
    batch = padded(noise_image((1, 12), 6, seed=9))
    score = torch.zeros(batch.real.shape).double()
    score[0, [2, 7, 8]] = torch.tensor([0.5, 0.4, 0.9]).double()
    flat = torch.full_like(score, 0.5)
    chosen = scan(keys(batch, score), flat, marked(batch.real.shape), torch.tensor([[3]]), batch, "raster")
    assert chosen[0].nonzero().flatten().tolist() == [2, 7, 8]


def test_taken_tokens_are_out_of_the_draw():
    batch = padded(noise_image((1, 12), 6, seed=10))
    flat = torch.full(batch.real.shape, 0.5).double()
    taken = marked(batch.real.shape, *range(0, 12, 2))
    chosen = scan(keys(batch, flat), flat, taken, torch.tensor([[3]]), batch, "raster")
    assert chosen[0].nonzero().flatten().tolist() == [1, 5, 9]


@pytest.mark.parametrize("name", ["boustrophedon", "raster"])
def test_another_curve_changes_the_context_and_not_the_focus(name: str):
    image = ImageTokens(scene(GRID, [(3, 3, 4, 4)], seed=11), GRID, None, 80)
    hilbert, other = (
        reduce([image], params=FocusContextParams(scan_share=0.5, curve=curve))[0] for curve in ("hilbert", name)
    )
    assert torch.equal(hilbert.kept[hilbert.is_focus], other.kept[other.is_focus])
    assert not torch.equal(hilbert.kept, other.kept)
