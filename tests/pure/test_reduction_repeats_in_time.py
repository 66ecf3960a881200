"""A frame of a video: tokens that repeat the frame before yield to those that are new."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sppruner_vllm.reduction import ImageTokens, reduce

GRID = (8, 8)
SIZE = 64
BUDGET = 16


def rows(seed: int) -> Tensor:
    return torch.randn(SIZE, 32, generator=torch.Generator().manual_seed(seed))


def old_left_half() -> Tensor:
    repeats = torch.zeros(GRID)
    repeats[:, :4] = 1.0
    return repeats.flatten()


@pytest.mark.parametrize("asked", [False, True])
def test_of_a_frame_half_of_which_is_old_more_is_kept_of_the_new_half(asked: bool) -> None:
    new = kept = 0
    for seed in range(8):
        frame = rows(seed)
        query = frame[3:5] + 0.1 * rows(seed + 50)[:2] if asked else None
        with_time = reduce([ImageTokens(frame, GRID, query, BUDGET, repeats=old_left_half())])[0].kept
        without = reduce([ImageTokens(frame, GRID, query, BUDGET)])[0].kept
        assert len(with_time) == BUDGET
        new += int((with_time % 8 >= 4).sum())
        kept += int((without % 8 >= 4).sum())
    assert new > kept + 8


def test_a_frame_without_repeats_is_selected_like_a_picture() -> None:
    frame = rows(1)
    alone = reduce([ImageTokens(frame, GRID, None, BUDGET)])[0]
    nothing_old = reduce([ImageTokens(frame, GRID, None, BUDGET, repeats=torch.zeros(SIZE))])[0]
    assert torch.equal(alone.kept, nothing_old.kept)
    assert torch.equal(alone.scores, nothing_old.scores)


def test_a_picture_beside_frames_is_selected_as_if_alone() -> None:
    picture = ImageTokens(rows(1)[:48], (6, 8), None, 10)
    frame = ImageTokens(rows(2), GRID, None, BUDGET, repeats=old_left_half())
    together = reduce([picture, frame])
    for image, selection in zip([picture, frame], together, strict=True):
        assert torch.equal(reduce([image])[0].kept, selection.kept)


@pytest.mark.parametrize("repeats", [torch.zeros(SIZE - 1), torch.zeros(SIZE, dtype=torch.int64)])
def test_repeats_that_fit_no_rows_are_refused(repeats: Tensor) -> None:
    with pytest.raises(ValueError, match="repeats must be floating"):
        reduce([ImageTokens(rows(1), GRID, None, BUDGET, repeats=repeats)])
