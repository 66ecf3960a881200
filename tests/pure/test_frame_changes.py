"""What of a video counts as new, in its pixels and in its rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sppruner_vllm.reduction.frames import pixel_changes, repeated

TOKENS, PATCHES, WIDTH = 12, 4, 24


def pixels(*frames: Tensor) -> Tensor:
    return torch.cat(frames).reshape(-1, WIDTH)


def scene(seed: int) -> Tensor:
    return torch.rand(TOKENS * PATCHES, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_a_frame_that_repeats_its_predecessor_has_no_change_and_a_cut_is_full_change() -> None:
    first, second = scene(0), scene(1)
    changes = pixel_changes(pixels(first, first, second, second, first), 5, TOKENS)
    assert changes == [1.0, 0.0, 1.0, 0.0, 1.0]


def test_a_change_counts_by_the_share_of_the_frame_that_it_takes() -> None:
    first, second = scene(0), scene(1)
    second[PATCHES * 3 :] = first[PATCHES * 3 :]
    assert pixel_changes(pixels(first, second), 2, TOKENS)[1] == pytest.approx(3 / TOKENS, abs=0.01)


@pytest.mark.parametrize("scale", [1.0, 255.0, 0.01])
def test_how_pixels_are_scaled_does_not_matter(scale: float) -> None:
    video = pixels(scene(0), 0.9 * scene(0) + 0.1 * scene(1), scene(2))
    plain = pixel_changes(video, 3, TOKENS)
    assert pixel_changes(video * scale + 3 * scale, 3, TOKENS) == pytest.approx(plain, abs=1e-3)
    assert 0 < plain[1] < 0.5


def test_whole_numbers_as_vllm_may_send_them_count_like_others() -> None:
    video = (pixels(scene(0), scene(0), scene(2)) * 255).to(torch.uint8)
    assert pixel_changes(video, 3, TOKENS)[1:] == [0.0, pytest.approx(0.99, abs=0.05)]


def test_a_little_noise_is_little_change() -> None:
    still = scene(0)
    noise = [still + 0.01 * (scene(9 + n) - 0.5) for n in range(4)]
    assert max(pixel_changes(pixels(*noise), 4, TOKENS)[1:]) < 0.05


def test_a_video_of_one_colour_is_all_repeats() -> None:
    blank = torch.full((TOKENS * PATCHES, WIDTH), 0.3)
    assert pixel_changes(pixels(blank, blank, blank), 3, TOKENS) == [1.0, 0.0, 0.0]


def test_one_frame_is_new() -> None:
    assert pixel_changes(scene(0), 1, TOKENS) == [1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_that_come_again_are_repeats_and_others_are_not(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(TOKENS, 64, generator=generator) for _ in range(2))
    mixed = torch.cat([first[:6], second[6:]])
    found = repeated((torch.cat([first, first, mixed]) + 2.0).to(dtype), 3).reshape(3, TOKENS)
    assert torch.equal(found[0], torch.zeros(TOKENS))
    assert torch.allclose(found[1], torch.ones(TOKENS), atol=1e-2)
    assert torch.allclose(found[2, :6], torch.ones(6), atol=1e-2)
    assert found[2, 6:].max() < 0.5


def test_rows_that_are_not_finite_or_all_the_same_are_no_harm() -> None:
    rows = torch.zeros(8, 4)
    rows[3] = torch.inf
    assert torch.isfinite(repeated(rows, 2)).all()
