"""Which stages of an order a worker carries out, and what it refuses to."""

from __future__ import annotations

import pytest
import torch

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.wire import Order, StageOrder
from sppruner_vllm.worker.stages import among_rows, inside_encoder

CUT, REPEATS = StageOrder("encoder", "focus_context", 60, block=2), StageOrder("entry", "repeats", 90)
ROWS = StageOrder("rows", "focus_context", 20)


def order(*stages: StageOrder, frames: tuple[int, ...] = ()) -> Order:
    """Of 100 rows of which 20 are kept."""
    return Order(100, 20, stages, torch.empty(0, dtype=torch.int64), frames=frames)


def test_each_stage_has_its_place() -> None:
    mixed = order(REPEATS, CUT, ROWS)
    assert inside_encoder(mixed) == (REPEATS, CUT)
    assert among_rows(mixed, 100) == ROWS


def test_nothing_is_left_to_select_where_all_rows_are_kept() -> None:
    assert among_rows(order(), 50) is None
    assert among_rows(order(CUT), 100) is None
    assert among_rows(order(StageOrder("rows", "focus_context", 100)), 100) is None


@pytest.mark.parametrize(("frames", "what"), [((), "image"), ((10, 10), "video")])
def test_other_rows_than_planned_are_an_error(frames: tuple[int, ...], what: str) -> None:
    with pytest.raises(RowCountError, match=f"{what} was planned with 100 rows but has 99"):
        among_rows(order(ROWS, frames=frames), 99)


def test_two_stages_of_one_kind_are_an_error() -> None:
    with pytest.raises(RowCountError, match="no way to carry out 2 stages"):
        among_rows(order(ROWS, ROWS), 100)
    with pytest.raises(RowCountError, match="no way to carry out 2 stages"):
        inside_encoder(order(CUT, CUT))
