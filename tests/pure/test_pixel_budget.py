"""What the pictures and videos of one request may have together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sppruner_vllm.errors import UnusablePicture
from sppruner_vllm.pictures.budget import PixelBudget


def test_pictures_count_together() -> None:
    budget = PixelBudget(100, 0)
    budget.charge("PNG", 10, 5)
    budget.charge("JPEG", 5, 10)
    with pytest.raises(UnusablePicture, match="more than 100 pixels together") as refusal:
        budget.charge("PNG", 1, 1)
    assert refusal.value.code == "image_too_large"


@pytest.mark.parametrize(("name", "times"), [("PNG", 1), ("WEBP", 2), ("AVIF", 2), ("JPEG2000", 8)])
def test_what_takes_longer_to_decode_counts_more(name: str, times: int) -> None:
    PixelBudget(100 * times, 0).charge(name, 10, 10)
    with pytest.raises(UnusablePicture):
        PixelBudget(100 * times - 1, 0).charge(name, 10, 10)


def test_frames_that_are_shown_count_with_the_pictures() -> None:
    budget = PixelBudget(100, 1000)
    budget.charge_video(decoded=500, shown=40)
    budget.charge("PNG", 6, 10)
    with pytest.raises(UnusablePicture, match="more than 100 pixels together"):
        budget.charge_video(decoded=1, shown=1)


def test_frames_that_are_passed_over_count_among_all_videos() -> None:
    budget = PixelBudget(100, 1000)
    budget.charge_video(decoded=600, shown=1)
    with pytest.raises(UnusablePicture, match="more than 1000 pixels together") as refusal:
        budget.charge_video(decoded=401, shown=1)
    assert refusal.value.code == "image_too_large"


def test_threads_share_it() -> None:
    budget = PixelBudget(50, 0)

    def fits(_: int) -> bool:
        try:
            budget.charge("PNG", 1, 1)
        except UnusablePicture:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(fits, range(200))) == 50
