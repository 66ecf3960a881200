"""Ways to choose the tokens of a video: as it is served, and what it is compared with."""

from __future__ import annotations

import pytest
import torch

from sppruner_vllm.evaluation.video_methods import METHODS, Video, evs, uniform_frames, vidcom2

GRID = (4, 5, 6)
EACH = 30


def video(budget: int, repeated: int | None = None) -> Video:
    """Noise of four frames; one of them may repeat the frame before it."""
    draw = torch.Generator().manual_seed(5)
    rows, pixels = torch.randn(4, EACH, 32, generator=draw), torch.rand(4, EACH, 48, generator=draw)
    if repeated is not None:
        rows[repeated], pixels[repeated] = rows[repeated - 1], pixels[repeated - 1]
    query, mean = torch.randn(3, 32, generator=draw), torch.randn(32, generator=draw)
    return Video(rows.flatten(0, 1), pixels.flatten(0, 1), GRID, budget, {"query": query}, mean)


@pytest.mark.parametrize("budget", [8, 13, 47, 90, 119])
@pytest.mark.parametrize("name", METHODS)
def test_every_way_keeps_exactly_its_budget(name: str, budget: int) -> None:
    kept = METHODS[name](video(budget))
    assert len(kept) == budget
    assert torch.equal(kept, kept.unique())
    assert 0 <= int(kept[0]) <= int(kept[-1]) < 4 * EACH


def test_what_is_served_and_evs_keep_less_of_a_frame_that_repeats_the_one_before() -> None:
    shown = video(60, repeated=2)
    for choose in (METHODS["served"], evs):
        counts = torch.bincount(choose(shown) // EACH, minlength=4)
        assert counts[2] == counts.min() < counts[0]


def test_evs_keeps_the_first_frame_whole() -> None:
    assert evs(video(EACH)).tolist() == list(range(EACH))


def test_uniform_frames_are_whole_but_for_one() -> None:
    kept = uniform_frames(video(2 * EACH + 5))
    assert torch.bincount(kept // EACH, minlength=4).tolist() == [EACH, 0, EACH, 5]


def test_vidcom2_keeps_something_of_every_frame() -> None:
    counts = torch.bincount(vidcom2(video(60)) // EACH, minlength=4)
    assert counts.sum() == 60
    assert counts.min() >= 1
