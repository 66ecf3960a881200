"""Which tokens repeat others: value for value, within their group, the first one stands for the rest."""

from __future__ import annotations

import pytest
import torch

from sppruner_vllm.reduction import repeats
from sppruner_vllm.reduction.repeats import first_alike

LENGTHS = (16, 4, 16, 1, 8)
TOKENS = sum(LENGTHS)


def drawn(seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Tokens of few kinds."""
    dice = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 256, (5, 4, 24), generator=dice).to(dtype)
    return kinds[torch.randint(5, (TOKENS,), generator=dice)]


def by_hand(units: torch.Tensor, order: torch.Tensor) -> list[int]:
    found, start = [], 0
    for length in LENGTHS:
        group = [units[index] for index in order[start : start + length].tolist()]
        found += [start + next(n for n, one in enumerate(group) if torch.equal(one, own)) for own in group]
        start += length
    return found


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_of_the_group_stands_for_the_others(seed: int, dtype: torch.dtype) -> None:
    units, order = drawn(seed, dtype), torch.randperm(TOKENS, generator=torch.Generator().manual_seed(seed))
    found = first_alike(units, order, LENGTHS)
    assert found.tolist() == by_hand(units, order)
    assert found[found].equal(found)


def test_the_smallest_difference_is_one() -> None:
    units = torch.full((8, 4, 24), 0.5)
    units[5, 3, 23] = torch.nextafter(units[5, 3, 23], torch.tensor(1.0))
    assert first_alike(units, torch.arange(8), [8]).tolist() == [0, 0, 0, 0, 0, 5, 0, 0]


def test_a_mark_that_two_unlike_tokens_share_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    units, order = drawn(3, torch.uint8), torch.arange(TOKENS)
    monkeypatch.setattr(repeats, "_marks", lambda flat: torch.zeros(len(flat), dtype=torch.int64))
    found = first_alike(units, order, LENGTHS)
    alike = [torch.equal(units[own], units[first]) for own, first in enumerate(found.tolist())]
    assert all(alike)
    assert found[found].equal(found)


def test_parts_of_many_pixels_are_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    units, order = drawn(4, torch.float32), torch.arange(TOKENS)
    monkeypatch.setattr(repeats, "_MOST_BYTES", 1000)
    assert first_alike(units, order, LENGTHS).tolist() == by_hand(units, order)
