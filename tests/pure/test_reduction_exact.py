"""Sums that do not depend on their order, and how close they come to plain float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reduction_scenes import seeded
from sppruner_vllm.reduction.core import exact


def whole(count: int, width: int, seed: int) -> Tensor:
    return exact.fixed_point(torch.randn(1, count, width, generator=seeded(seed)))


def all_valid(values: Tensor) -> Tensor:
    return torch.ones(values.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("width", [7, 64, 96, 1000, 3584])
def test_lengths_do_not_depend_on_the_other_rows(width: int):
    values = whole(64, width, seed=0)
    alone = torch.cat([exact.lengths(values[:, i : i + 1].clone()) for i in range(64)], dim=1)
    assert torch.equal(exact.lengths(values), alone)


def test_column_sums_do_not_depend_on_the_order_of_the_rows():
    values = whole(512, 100, seed=1)
    shuffled = values[:, torch.randperm(512, generator=seeded(2))]
    assert torch.equal(exact.column_sums(values), exact.column_sums(shuffled))
    assert torch.equal(exact.column_sums(values)[0, 0], values[0].to(torch.int64).sum(0).to(torch.float64))


def test_products_do_not_depend_on_the_order_of_the_entries():
    values = whole(80, 2048, seed=3)
    units = exact.directions(values, all_valid(values))
    shuffled = units[..., torch.randperm(2048, generator=seeded(4))]
    assert torch.equal(exact.products(units, units), exact.products(shuffled, shuffled))


@pytest.mark.parametrize("width", [1, 3, 2048, 8192])
def test_cosines_are_right_to_a_thousandth(width: int):
    rows = torch.randn(40, width, generator=seeded(5))
    values = exact.fixed_point(rows.clone()[None])
    units = exact.directions(values, all_valid(values))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    assert (exact.cosines(exact.products(units, units))[0] - unit @ unit.T).abs().max() < 1e-3


def test_no_sum_of_products_leaves_the_whole_numbers_of_float32():
    width = 8192
    values = exact.fixed_point(torch.ones(1, 1, width))
    units = exact.directions(values, all_valid(values))
    assert exact.products(units, units).item() <= 2**24


def test_zero_and_invalid_rows_have_no_direction():
    values = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]])
    units = exact.directions(values, torch.tensor([[True, True, False]]))
    assert units.tolist() == [[[0.0, 0.0], [1200.0, 1600.0], [0.0, 0.0]]]


def test_totals_do_not_depend_on_the_order():
    values = torch.rand(1, 5000, generator=seeded(6), dtype=torch.float64)
    shuffled = values[:, torch.randperm(5000, generator=seeded(7))]
    assert torch.equal(exact.total(values), exact.total(shuffled))
    assert exact.total(values).item() == pytest.approx(values.sum().item(), abs=1e-5)


def test_a_range_of_a_single_step_counts_as_no_contrast():
    values = torch.tensor([[0.25, 0.25 + 1 / exact.STEPS]], dtype=torch.float64)
    assert exact.unit_range(values, values[:, :1], values[:, 1:]).tolist() == [[0.0, 0.0]]


def test_equal_keys_are_ranked_by_index():
    assert exact.falling(torch.tensor([[1.0, 3.0, 1.0, 3.0, 2.0]])).tolist() == [[1, 3, 4, 0, 2]]
