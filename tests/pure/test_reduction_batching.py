"""An image gets the same selection alone and in any company, and the host never waits for the device."""

from __future__ import annotations

import random

import pytest
import torch

from reduction_scenes import noise_image, scene, seeded
from sppruner_vllm.reduction import BUILTIN_METHODS, ImageTokens, Selection, reduce
from sppruner_vllm.reduction.core import batch as batches
from sppruner_vllm.reduction.core.batch import sub_batches
from sppruner_vllm.reduction.core.grid import cell_grid

METHODS = tuple(sorted(BUILTIN_METHODS))


def assert_same(mine: Selection, other: Selection) -> None:
    assert torch.equal(mine.kept, other.kept)
    assert torch.equal(mine.is_focus, other.is_focus)
    assert torch.equal(mine.saliency, other.saliency)
    assert torch.equal(mine.scores, other.scores)
    assert (mine.relevance is None) == (other.relevance is None)
    if mine.relevance is not None and other.relevance is not None:
        assert torch.equal(mine.relevance, other.relevance)


def random_image(draw: random.Random, width: int, longest: int = 24) -> ImageTokens:
    grid = draw.randint(1, longest), draw.randint(1, longest)
    count = grid[0] * grid[1]
    seed = draw.randrange(10**6)
    rows = scene(grid, [(0, 0, max(1, grid[0] // 3), max(1, grid[1] // 3))], seed=seed, width=width)
    if draw.random() < 0.3:
        rows = rows[torch.randint(max(1, count // 4), (count,), generator=seeded(seed))]
    words = draw.choice((0, 0, 1, 3, 17))
    query = torch.randn(words, width, generator=seeded(seed + 1)) + (rows[0] - rows.mean(0)) if words else None
    dtype = draw.choice((torch.float32, torch.bfloat16))
    attention = torch.rand(count, generator=seeded(seed + 2)) ** 4 if draw.random() < 0.4 else None
    query = None if query is None else query.to(dtype)
    words = draw.choice((0, 0, 2, 9))
    states = torch.randn(words, width, generator=seeded(seed + 3)) + (rows[-1] - rows.mean(0)) if words else None
    return ImageTokens(rows.to(dtype), grid, query, draw.randint(1, count), attention, states=states)


@pytest.mark.parametrize("seed", range(24))
def test_a_batch_gives_exactly_what_its_images_give_alone(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "MAX_ELEMENTS_CPU", 2**25)
    draw = random.Random(seed)
    width = draw.choice((8, 96, 511, 1024))
    images = [random_image(draw, width) for _ in range(draw.randint(2, 6))]
    text_mean = torch.randn(width, generator=seeded(seed)) if seed % 2 else None
    together = reduce(images, text_mean=text_mean)
    for image, selection in zip(images, together, strict=True):
        assert_same(selection, reduce([image], text_mean=text_mean)[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_no_method_lets_an_image_depend_on_its_company(method: str, seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "MAX_ELEMENTS_CPU", 2**25)
    draw = random.Random(100 + seed)
    width = draw.choice((8, 96, 511))
    images = [random_image(draw, width, longest=12) for _ in range(draw.randint(2, 6))]
    text_mean = torch.randn(width, generator=seeded(seed)) if seed % 2 else None
    for image, selection in zip(images, reduce(images, method, text_mean=text_mean), strict=True):
        assert_same(selection, reduce([image], method, text_mean=text_mean)[0])


def test_repeated_rows_and_maps_of_ties_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batches, "MAX_ELEMENTS_CPU", 2**25)
    halves = torch.randn(2, 64, generator=seeded(1)).repeat_interleave(50, 0)
    board = torch.randn(2, 64, generator=seeded(2)).repeat(60, 1)
    images = [
        ImageTokens(halves, (10, 10), halves[:2], 21),
        ImageTokens(board, (12, 10), None, 30),
        ImageTokens(torch.zeros(7, 64), (1, 7), halves[:1], 3),
        noise_image((31, 17), 77, seed=3, width=64, words=40),
    ]
    for image, selection in zip(images, reduce(images), strict=True):
        assert_same(selection, reduce([image])[0])


def test_results_come_in_the_order_of_the_images_however_they_are_grouped(monkeypatch: pytest.MonkeyPatch):
    images = [noise_image((n, n), n, seed=n, words=n % 2) for n in (3, 9, 1, 12, 5, 9)]
    whole = reduce(images)
    monkeypatch.setattr(batches, "MAX_ELEMENTS_CPU", 2000)
    assert len(list(sub_batches(images))) > 2
    for mine, other in zip(reduce(images), whole, strict=True):
        assert_same(mine, other)


def test_groups_stay_within_their_bound_unless_one_image_exceeds_it():
    images = [noise_image((n, 4), 1, seed=0, width=8) for n in (50, 3, 3, 20, 1, 21)]
    groups = list(sub_batches(images, max_elements=40 * 4 * 8))
    assert sorted(i for group in groups for i in group) == list(range(6))
    for group in groups:
        padded = len(group) * max(images[i].rows.numel() for i in group)
        assert padded <= 40 * 4 * 8 or group == [0]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_call_twice_gives_the_same_selection(method: str):
    image = noise_image((15, 16), 60, seed=11, words=5)
    torch.manual_seed(1)
    first = reduce([image], method)[0]
    torch.manual_seed(2)
    assert_same(first, reduce([image], method)[0])


@pytest.mark.parametrize("method", METHODS)
def test_tensors_without_data_can_be_reduced_so_nothing_is_read_back(method: str):
    images = [
        ImageTokens(torch.empty(42, 32, device="meta"), (6, 7), torch.empty(3, 32, device="meta"), 9),
        ImageTokens(torch.empty(16, 32, device="meta"), (4, 4), None, 16, torch.empty(16, device="meta")),
    ]
    selections = reduce(images, method, text_mean=torch.empty(32, device="meta"))
    assert [selection.kept.shape[0] for selection in selections] == [9, 16]
    assert {selection.kept.device.type for selection in selections} == {"meta"}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 10_000])
@pytest.mark.parametrize("grid", [(1, 1), (1, 40), (40, 1), (6, 50), (36, 36)])
def test_cells_are_affordable_and_no_smaller_than_a_token(grid: tuple[int, int], limit: int):
    rows, columns = cell_grid(grid, limit)
    assert 1 <= rows * columns <= limit
    assert rows <= grid[0]
    assert columns <= grid[1]


def test_without_budget_there_are_no_cells():
    assert cell_grid((9, 9), 0) == (0, 0)
