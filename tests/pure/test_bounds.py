"""A keep ratio opens no way to work that ratio 1 would be refused."""

from __future__ import annotations

import re

import pytest

from sppruner_vllm.api.room import Most, Room
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.bounds import Bounds

BOUNDS = Bounds(picture=100, prompt=250, positions=80, video=120)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((250, [100, 101], 80), "image 1 has 101 visual tokens before reduction; there may be 100"),
        ((251, [100, 100], 80), "before reduction this prompt has 251 tokens; there may be 250"),
        ((250, [100, 100], 81), "before reduction this prompt takes 81 positions; there are 80"),
    ],
)
def test_what_is_too_much_is_named_with_its_figures(asked: tuple[int, list[int], int], message: str) -> None:
    with pytest.raises(InvalidField, match=re.escape(message)) as refusal:
        BOUNDS.refuse(*asked)
    assert (refusal.value.field, refusal.value.code) == ("keep_ratio", "too_many_unreduced_tokens")


def test_a_video_that_is_too_much_is_named_with_its_figures() -> None:
    with pytest.raises(
        InvalidField, match="video 1 has 121 visual tokens before reduction; there may be 120"
    ) as refusal:
        BOUNDS.refuse(241, videos=[120, 121])
    assert (refusal.value.field, refusal.value.code) == ("keep_ratio", "too_many_unreduced_tokens")


def test_what_fits_passes() -> None:
    BOUNDS.refuse(250, [100, 100], 80)
    BOUNDS.refuse(250, [], 80, [120, 120])


def area(width: int, height: int) -> int:
    return width * height


def test_pictures_are_held_against_the_room_one_after_the_other() -> None:
    room = Room(area, 10, lambda: Most(100, None, None, reduced=False))
    room.take(6, 10)
    room.take(4, 10)
    with pytest.raises(InvalidField) as refusal:
        room.take(1, 1)
    assert (refusal.value.field, refusal.value.code) == ("messages", "context_length_exceeded")


def test_a_reduced_request_is_told_that_a_picture_is_too_large_for_it() -> None:
    room = Room(area, 10, lambda: Most(100, 50, None, reduced=True))
    room.take(5, 10)
    with pytest.raises(InvalidField, match="there may be 50") as refusal:
        room.take(51, 1)
    assert (refusal.value.field, refusal.value.code) == ("keep_ratio", "too_many_unreduced_tokens")


def test_videos_have_a_bound_of_their_own_and_share_the_room() -> None:
    room = Room(
        area, 10, lambda: Most(100, 50, 60, reduced=True), lambda width, height, frames: width * height * frames
    )
    room.take(4, 10)
    room.take_video(2, 10, 3)
    with pytest.raises(InvalidField, match="the media of this prompt have 101 tokens; there may be 100"):
        room.take(1, 1)
    with pytest.raises(InvalidField, match="a video has 80 visual tokens before reduction; there may be 60"):
        room.take_video(2, 10, 4)


def test_a_video_whose_tokens_cannot_be_told_is_left_to_its_processor() -> None:
    Room(area, 10, lambda: Most(100, None, None, reduced=False)).take_video(1000, 1000, 1000)
