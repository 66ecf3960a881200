"""Who goes on inside the encoder, and what the others are taken to become."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sppruner_vllm.reduction import survivors as module
from sppruner_vllm.reduction.survivors import NEIGHBOURS, Survivors, joined, survivors


def states(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))


def test_the_highest_scores_go_on_in_their_order_and_the_earlier_of_equals():
    chosen = survivors(states(6), torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0, 5.0]), 3)
    assert chosen.kept.tolist() == [1, 2, 5]
    assert chosen.dropped.tolist() == [0, 3, 4]


def test_neighbours_are_the_survivors_most_like_a_dropped_token():
    tokens = states(60)
    chosen = survivors(tokens, torch.arange(60).float(), 40)
    distance = torch.cdist(tokens[chosen.dropped], tokens[chosen.kept])
    expected = distance.topk(NEIGHBOURS, largest=False).indices.sort(1).values
    assert torch.equal(chosen.neighbours.sort(1).values, expected)


def test_distances_may_be_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    whole = survivors(states(60), torch.arange(60).float(), 40)
    monkeypatch.setattr(module, "MOST_DISTANCES", 80)
    parts = survivors(states(60), torch.arange(60).float(), 40)
    assert torch.equal(whole.neighbours, parts.neighbours)


def test_a_dropped_token_changes_as_its_neighbours_do_and_survivors_are_themselves():
    start = states(30)
    chosen = survivors(start, torch.arange(30).float(), 20)
    now = states(20, 1)
    whole = chosen.restored(start, now)
    assert torch.equal(whole[chosen.kept], now)
    change = now - start[chosen.kept]
    expected = start[chosen.dropped] + change[chosen.neighbours].mean(1)
    assert torch.allclose(whole[chosen.dropped], expected, atol=1e-5)


@pytest.mark.parametrize("most", [1, 3, 11, 12])
def test_any_number_may_go_on(most: int):
    start = states(12)
    chosen = survivors(start, torch.rand(12, generator=torch.Generator().manual_seed(2)), most)
    whole = chosen.restored(start, start[chosen.kept] + 1)
    assert chosen.neighbours.shape == (12 - most, min(most, NEIGHBOURS))
    assert torch.allclose(whole, start + 1)


def test_bfloat16_stays_bfloat16():
    start = states(20).bfloat16()
    chosen = survivors(start, torch.arange(20).float(), 12)
    assert chosen.restored(start, start[chosen.kept]).dtype == torch.bfloat16


def test_images_joined_are_restored_as_each_alone():
    sizes, most = [30, 14, 21], [12, 14, 5]
    starts = [states(size, seed) for seed, size in enumerate(sizes)]
    parts = [survivors(start, start.norm(dim=1), count) for start, count in zip(starts, most, strict=True)]
    nows = [start[part.kept] * 2 for start, part in zip(starts, parts, strict=True)]
    both: Survivors = joined(parts, sizes)
    whole = both.restored(torch.cat(starts), torch.cat(nows)).split(sizes)
    for part, start, now, restored in zip(parts, starts, nows, whole, strict=True):
        assert torch.allclose(part.restored(start, now), restored, atol=1e-6)
