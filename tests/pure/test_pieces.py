"""Images of several grids: which rows stay, whose budget is whose, and that all is put together again."""

from __future__ import annotations

import pytest
import torch

from sppruner_vllm.reduction import ImageTokens, reduce
from sppruner_vllm.reduction.pieces import Piece, joined, parted, piece_budgets, staying_ends

BASE, MOSAIC = Piece(0, (3, 3)), Piece(9, (4, 5), line_ends=True)
ROWS = 9 + 4 * 6
ENDS = [14, 20, 26, 32]


def image(budget: int) -> ImageTokens:
    rows = torch.randn(ROWS, 8, generator=torch.manual_seed(0))
    return ImageTokens(rows, (1, ROWS), None, budget, merger_input=torch.arange(ROWS * 2.0).view(ROWS, 1, 2))


def test_the_rows_of_a_piece_leave_out_the_ends_of_its_lines() -> None:
    assert MOSAIC.end(torch.arange(MOSAIC.ends)).tolist() == ENDS
    own = [row for row in range(9, ROWS) if row not in ENDS]
    assert [MOSAIC.row(token) for token in range(20)] == MOSAIC.row(torch.arange(20)).tolist() == own
    assert BASE.row(torch.arange(9)).tolist() == list(range(9))
    assert BASE.ends == 0


def test_the_rows_of_tiles_come_tile_by_tile() -> None:
    mosaic = Piece(100, (4, 6), tile=(2, 3))
    places = torch.full((4, 6), -1)
    for tile in range(4):
        for place in range(6):
            places[tile // 2 * 2 + place // 3, tile % 2 * 3 + place % 3] = 100 + tile * 6 + place
    assert mosaic.row(torch.arange(24)).tolist() == places.flatten().tolist()
    assert [mosaic.row(token) for token in range(24)] == places.flatten().tolist()


@pytest.mark.parametrize(
    ("budget", "stay"),
    [(32, ENDS), (16, ENDS), (15, [14, 26, 32]), (8, [20, 32]), (4, [26]), (3, []), (30, ENDS)],
)
def test_the_ends_of_lines_take_a_quarter_of_the_budget_at_most(budget: int, stay: list[int]) -> None:
    assert staying_ends([BASE, MOSAIC], budget) == len(stay)
    assert parted(image(budget), [BASE, MOSAIC]).ends.tolist() == stay


def test_more_ends_stay_where_nothing_else_is_left_to_keep() -> None:
    long = Piece(0, (20, 1), line_ends=True)
    assert staying_ends([long], 38) == 18


@pytest.mark.parametrize(
    ("sizes", "budget", "parts"),
    [
        ([9, 20], 29, [9, 20]),
        ([9, 20], 10, [3, 7]),
        ([1, 100], 5, [1, 4]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([1, 1, 1, 97], 4, [1, 1, 1, 1]),
        ([256] * 3, 100, [34, 33, 33]),
        ([0, 9, 0, 5], 1, [0, 1, 0, 0]),
        ([9, 0, 5], 7, [5, 0, 2]),
    ],
)
def test_a_budget_is_shared_by_size(sizes: list[int], budget: int, parts: list[int]) -> None:
    assert piece_budgets(sizes, budget) == parts


def test_every_budget_is_kept_to() -> None:
    for sizes in ([9, 20], [1, 40, 3], [256] * 5, [144, 2], [9, 0]):
        for budget in range(1, sum(sizes) + 1):
            parts = piece_budgets(sizes, budget)
            assert sum(parts) == budget
            assert all(0 <= part <= size for part, size in zip(parts, sizes, strict=True))


@pytest.mark.parametrize("budget", range(1, ROWS))
def test_a_joined_selection_keeps_exactly_its_budget_with_the_ends_that_stay(budget: int) -> None:
    split = parted(image(budget), [BASE, MOSAIC])
    whole = joined(split, reduce(split.images))
    kept = whole.kept.tolist()
    assert len(kept) == budget
    assert kept == sorted(set(kept))
    assert [row for row in kept if row in ENDS] == split.ends.tolist()
    assert not whole.is_focus[torch.isin(whole.kept, torch.tensor(ENDS))].any()
    assert whole.saliency.shape == whole.scores.shape == (ROWS,)
    assert whole.scores.nonzero().flatten().tolist() == kept


@pytest.mark.parametrize("budget", range(1, 16))
def test_of_a_mosaic_that_is_all_padding_only_ends_of_lines_are_left(budget: int) -> None:
    """What a picture of 10 by 1,000 pixels comes to."""
    thin = Piece(9, (6, 0), line_ends=True)
    whole = ImageTokens(torch.randn(15, 8, generator=torch.manual_seed(0)), (1, 15), None, budget)
    split = parted(whole, [BASE, thin])
    assert len(split.images) == (len(split.ends) < budget)
    kept = joined(split, reduce(split.images) if split.images else []).kept.tolist()
    assert len(set(kept)) == budget


def test_what_was_overheard_goes_with_its_rows() -> None:
    split = parted(image(20), [BASE, MOSAIC])
    base, mosaic = (part.merger_input for part in split.images)
    assert base is not None
    assert mosaic is not None
    assert base[:, 0, 0].tolist() == [2.0 * row for row in range(9)]
    assert mosaic[:, 0, 0].tolist() == [2.0 * row for row in range(9, ROWS) if row not in ENDS]


def test_rows_that_are_not_those_of_the_pieces_are_refused() -> None:
    with pytest.raises(ValueError, match="33 rows are not those of"):
        parted(image(5), [BASE])
