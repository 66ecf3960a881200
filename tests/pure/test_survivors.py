"""Who goes on inside the encoder, and what the others are taken to become."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sppruner_vllm.reduction import survivors as module
from sppruner_vllm.reduction.survivors import NEIGHBOURS, Survivors, joined, survivors


def states(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))


def test_of_likenesses_one_goes_on_and_what_is_like_nothing_does():
    alike = states(8).repeat_interleave(4, dim=0) + 0.01 * states(32, 1)
    alone = 3 * states(5, 2)
    chosen = survivors(torch.cat((alike, alone)), 13)
    assert set(range(32, 37)) <= set(chosen.kept.tolist())
    assert sorted(place // 4 for place in chosen.kept.tolist() if place < 32) == list(range(8))


@pytest.mark.parametrize("most", [1, 2, 7, 40, 59, 60])
def test_exactly_so_many_go_on_and_the_others_do_not(most: int):
    chosen = survivors(states(60), most)
    assert len(chosen.kept) == most
    assert sorted((*chosen.kept.tolist(), *chosen.dropped.tolist())) == list(range(60))
    assert torch.equal(chosen.kept, chosen.kept.sort().values)
    assert torch.equal(chosen.dropped, chosen.dropped.sort().values)


def test_neighbours_are_the_survivors_most_like_a_dropped_token():
    tokens = states(60)
    chosen = survivors(tokens, 40)
    distance = torch.cdist(tokens[chosen.dropped], tokens[chosen.kept])
    expected = distance.topk(NEIGHBOURS, largest=False).indices.sort(1).values
    assert torch.equal(chosen.neighbours.sort(1).values, expected)


def test_distances_may_be_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    whole = survivors(states(60), 40)
    monkeypatch.setattr(module, "MOST_DISTANCES", 80)
    parts = survivors(states(60), 40)
    assert torch.equal(whole.neighbours, parts.neighbours)


def test_a_dropped_token_changes_as_its_neighbours_do_and_survivors_are_themselves():
    start = states(30)
    chosen = survivors(start, 20)
    now = states(20, 1)
    whole = chosen.restored(start, now)
    assert torch.equal(whole[chosen.kept], now)
    change = now - start[chosen.kept]
    expected = start[chosen.dropped] + (change[chosen.neighbours] * chosen.weights.unsqueeze(-1)).sum(1)
    assert torch.allclose(whole[chosen.dropped], expected, atol=1e-5)


@pytest.mark.parametrize("most", [1, 3, 11, 12])
def test_any_number_may_go_on(most: int):
    start = states(12)
    chosen = survivors(start, most)
    whole = chosen.restored(start, start[chosen.kept] + 1)
    assert chosen.neighbours.shape == (12 - most, min(most, NEIGHBOURS))
    assert torch.allclose(whole, start + 1)


def test_the_nearest_survivor_counts_most_and_one_that_is_the_same_alone():
    start = states(40)
    start[1] = start[0]
    chosen = survivors(start, 20)
    assert (chosen.weights.diff(dim=1) <= 0).all()
    assert torch.allclose(chosen.weights.sum(1), torch.ones(20))
    twin = chosen.weights[[place in (0, 1) for place in chosen.dropped.tolist()]]
    assert twin.shape[0] == 1
    assert twin[0, 0] > 0.999


def test_bfloat16_stays_bfloat16():
    start = states(20).bfloat16()
    chosen = survivors(start, 12)
    assert chosen.restored(start, start[chosen.kept]).dtype == torch.bfloat16


def test_images_joined_are_restored_as_each_alone():
    sizes, most = [30, 14, 21], [12, 14, 5]
    starts = [states(size, seed) for seed, size in enumerate(sizes)]
    parts = [survivors(start, count) for start, count in zip(starts, most, strict=True)]
    nows = [start[part.kept] * 2 for start, part in zip(starts, parts, strict=True)]
    both: Survivors = joined(parts, sizes)
    whole = both.restored(torch.cat(starts), torch.cat(nows)).split(sizes)
    for part, start, now, restored in zip(parts, starts, nows, whole, strict=True):
        assert torch.allclose(part.restored(start, now), restored, atol=1e-6)
