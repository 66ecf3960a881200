"""Rows are kept within a bound, give what they gave first, and hold no memory but their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sppruner_vllm.owned import owned
from sppruner_vllm.wire import Order, StageOrder
from sppruner_vllm.worker.micro_batches import pick
from sppruner_vllm.worker.rows_cache import ImageRows, RowsCache, RowsKey, rows_key

NOTHING: frozenset[str] = frozenset()
GRID = (4, 4)
ENTRY = 16 * 8 * 4
"""Bytes of the rows that `image` makes."""


def key(name: str | int) -> RowsKey:
    return RowsKey(str(name), GRID, ())


def image(value: float = 0.0, **taps: Tensor) -> ImageRows:
    return ImageRows(torch.full((16, 8), value), taps)


def asked(picture: str, ratio: str = "", *stages: StageOrder, profiling: bool = False) -> Order:
    return Order(16, 16, stages, torch.tensor([len(ratio)]), profiling, picture)


def test_a_picture_is_found_by_another_question_and_another_budget() -> None:
    rows = StageOrder("rows", "uniform", 4)
    assert rows_key(asked("a", "why"), GRID) == rows_key(asked("a", "", rows), GRID)


@pytest.mark.parametrize(
    ("order", "grid"),
    [
        (asked("b"), GRID),
        (asked("a"), (2, 8)),
        (asked("a", "", StageOrder("encoder", "uniform", 4)), GRID),
        (asked("a", "", StageOrder("entry", "repeats", 16)), GRID),
    ],
    ids=["another picture", "another size", "a cut inside the encoder", "repeats that do not enter"],
)
def test_what_the_encoder_sees_or_does_otherwise_is_kept_apart(order: Order, grid: tuple[int, int]) -> None:
    assert rows_key(order, grid) != rows_key(asked("a"), GRID)


@pytest.mark.parametrize("order", [asked(""), asked("a", profiling=True)], ids=["sent encoded", "vLLM's own"])
def test_what_is_no_picture_of_a_client_is_not_kept(order: Order) -> None:
    assert rows_key(order, GRID) is None


def test_the_least_recently_asked_for_goes_first() -> None:
    cache = RowsCache(2 * ENTRY)
    for name in "ab":
        cache.keep(key(name), image())
    cache.find(key("a"), NOTHING)
    cache.keep(key("c"), image())
    assert [cache.find(key(name), NOTHING) is not None for name in "abc"] == [True, False, True]
    assert (cache.take_evicted(), cache.held) == (1, 2 * ENTRY)


def test_ten_thousand_pictures_stay_within_the_bound() -> None:
    bound = 10 * ENTRY + 17
    cache = RowsCache(bound)
    sizes = (16, 3, 40)
    for number in range(10_000):
        batch = torch.randn(60, 8)
        rows = batch.split([sizes[number % 3], 60 - sizes[number % 3]])[0]
        cache.keep(key(number), ImageRows(rows, {}))
        assert cache.held <= bound
    found = [cache.find(key(number), NOTHING) for number in range(10_000)]
    kept = [one for one in found if one is not None]
    assert 5 < len(kept) < 40
    assert cache.held == sum(one.nbytes for one in kept)
    assert all(one.rows.untyped_storage().nbytes() == one.rows.nbytes for one in kept), "no batch is held"
    assert cache.take_evicted() == 10_000 - len(kept)


def test_an_image_larger_than_the_bound_is_given_back_and_not_kept() -> None:
    cache = RowsCache(ENTRY)
    large = ImageRows(torch.zeros(17, 8), {})
    cache.keep(key("small"), image())
    assert cache.keep(key("large"), large) is large
    assert cache.find(key("large"), NOTHING) is None
    assert cache.find(key("small"), NOTHING) is not None


def test_rows_stay_as_they_were_first_given_and_gain_what_is_overheard_later() -> None:
    cache = RowsCache(10 * ENTRY)
    attention, merger = torch.rand(16), torch.rand(16, 4)
    first = cache.keep(key("a"), image(1.0, attention=attention))
    assert cache.find(key("a"), frozenset({"merger_input"})) is None
    cache.keep(key("a"), image(2.0, merger_input=merger))
    found = cache.find(key("a"), frozenset({"attention", "merger_input"}))
    assert found is not None
    assert found.rows is first.rows
    assert torch.equal(found.taps["attention"], attention)
    assert torch.equal(found.taps["merger_input"], merger)
    assert cache.held == found.nbytes == ENTRY + 16 * 4 + 16 * 4 * 4


def test_what_is_overheard_may_outgrow_the_bound_without_costing_the_rows() -> None:
    cache = RowsCache(ENTRY)
    first = cache.keep(key("a"), image(1.0))
    grown = cache.keep(key("a"), image(2.0, attention=torch.rand(16)))
    assert grown.taps.keys() == {"attention"}
    found = cache.find(key("a"), NOTHING)
    assert found is not None
    assert found.rows is first.rows


def test_rows_that_stand_alone_are_shared_and_views_are_copied() -> None:
    alone, batch = torch.randn(16, 8), torch.randn(32, 8)
    assert owned(alone) is alone
    view = batch[16:]
    assert owned(view).untyped_storage().nbytes() == view.nbytes
    assert torch.equal(owned(view), view)


def test_a_profile_sees_the_bound_until_the_first_picture() -> None:
    cache = RowsCache(1000)
    cache.reserve(torch.device("cpu"))
    assert cache.reserved == 1000
    cache.find(key("a"), NOTHING)
    assert cache.reserved == 0
    cache.keep(key("a"), ImageRows(torch.zeros(2, 8), {}))
    cache.reserve(torch.device("cpu"))
    assert cache.reserved == 0, "what is kept already is seen as it is"


def test_forgetting_frees_everything() -> None:
    cache = RowsCache(10 * ENTRY)
    cache.reserve(torch.device("cpu"))
    cache.keep(key("a"), image())
    cache.clear()
    assert cache.held == cache.reserved == 0
    assert cache.find(key("a"), NOTHING) is None


INPUTS = {"pixel_values": torch.arange(10).view(10, 1), "grid": torch.tensor([2, 1, 4, 3]), "names": list("abcd")}
ROWS = {"pixel_values": [2, 1, 4, 3]}


@pytest.mark.parametrize("images", [[0], [3], [0, 2], [1, 2], [0, 1, 3], [0, 1, 2, 3]])
def test_any_images_of_a_batch_can_be_picked(images: list[int]) -> None:
    part = pick(INPUTS, images, ROWS)
    starts = [0, 2, 3, 7, 10]
    pixels = [row for index in images for row in range(starts[index], starts[index + 1])]
    assert part["pixel_values"].flatten().tolist() == pixels
    assert part["grid"].tolist() == [ROWS["pixel_values"][index] for index in images]
    assert part["names"] == ["abcd"[index] for index in images]


@pytest.mark.parametrize("images", [[1], [0, 2], [0, 1, 2, 3]])
def test_what_all_images_share_goes_with_any_of_them(images: list[int]) -> None:
    number = torch.tensor(7)
    assert pick({**INPUTS, "number": number}, images, {**ROWS, "number": None})["number"] is number
