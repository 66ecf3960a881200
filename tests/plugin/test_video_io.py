"""Videos are judged from their headers: what they come in, and how many pixels their frames have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from serving import data_url
from sppruner_vllm.api import video_io
from sppruner_vllm.api.connector import Connector
from sppruner_vllm.api.refusing import RefusedRequest
from sppruner_vllm.api.room import Most, Room, within
from sppruner_vllm.errors import InvalidField
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.settings import settings
from video_files import avi, frame, frames, video_url

SIZE = (112, 84)
EACH = 112 * 84


@pytest.fixture(autouse=True)
def settings_of_this_test_alone() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def fetched(url: str, pixels: int = 2**27, video_pixels: int = 2**30, **kwargs: Any) -> Any:
    with within(None, PixelBudget(pixels, video_pixels)):
        return Connector({"video": kwargs}).fetch_video(url).media


def refusal(url: str, *budget: int, **kwargs: Any) -> InvalidField:
    with pytest.raises(RefusedRequest) as refused:
        fetched(url, *budget, **kwargs)
    assert isinstance(refused.value.__cause__, InvalidField)
    return refused.value.__cause__


def pictures_url(*pictures: bytes) -> str:
    return "data:video/jpeg;base64," + ",".join(data_url(one).partition(",")[2] for one in pictures)


def test_a_video_within_the_limits_is_decoded_as_vllm_does() -> None:
    shown, known = fetched(video_url(avi(frames(8))), num_frames=4)
    assert shown.shape == (4, 84, 112, 3)
    assert known["frames_indices"] == [0, 2, 4, 7]


def test_frames_up_to_the_last_that_is_shown_count() -> None:
    url = video_url(avi(frames(8)))
    fetched(url, 2 * EACH, 8 * EACH, num_frames=2)
    refused = refusal(url, 2 * EACH, 8 * EACH - 1, num_frames=2)
    assert (refused.field, refused.code) == ("video_url", "media_too_large")
    assert f"more than {8 * EACH - 1} pixels together" in str(refused)


def test_frames_that_are_shown_count_as_pictures_do() -> None:
    url = video_url(avi(frames(8)))
    fetched(url, 4 * EACH, 2**30, num_frames=4)
    assert refusal(url, 4 * EACH - 1, 2**30, num_frames=4).code == "media_too_large"


def test_a_rare_codec_counts_for_what_it_takes() -> None:
    url = video_url(avi([frame(SIZE, kind="PNG")] * 4, codec=b"MPNG"))
    fetched(url, 2**27, 4 * EACH * video_io.RARE)
    assert refusal(url, 2**27, 4 * EACH * video_io.RARE - 1).code == "media_too_large"


def test_a_video_that_cannot_fit_is_refused_before_a_frame_is_decoded() -> None:
    url = video_url(avi([*frames(7), b"no picture", *frames(8)]))
    assert refusal(url).code == "invalid_media"
    room = Room(
        lambda *_: 0, 100, lambda: Most(179, None, None, reduced=False), lambda width, height, frames: 12 * frames
    )
    with pytest.raises(RefusedRequest) as refused, within(room, PixelBudget(2**27, 2**30)):
        Connector().fetch_video(url)
    assert isinstance(cause := refused.value.__cause__, InvalidField)
    assert (cause.field, cause.code) == ("messages", "context_length_exceeded")
    assert "have 180 tokens" in str(cause)  # of 15 frames: the last may be one too many


def test_so_is_one_of_pictures_with_commas_between() -> None:
    url = pictures_url(*frames(4))
    for most, fits in ((48, True), (47, False)):
        room = Room(
            lambda *_: 0,
            0,
            lambda most=most: Most(most, None, None, reduced=True),
            lambda width, height, frames: 12 * frames,
        )
        with within(room, PixelBudget(2**27, 2**30)):
            if fits:
                Connector().fetch_video(url)
                continue
            with pytest.raises(RefusedRequest) as refused:
                Connector().fetch_video(url)
            assert isinstance(cause := refused.value.__cause__, InvalidField)
            assert cause.code == "too_many_unreduced_tokens"


def test_small_frames_count_for_the_least_there_is() -> None:
    url = video_url(avi(frames(4, (16, 16)), (16, 16)))
    assert refusal(url, 2**27, 4 * video_io.LEAST_PIXELS - 1).code == "media_too_large"


def test_a_frame_is_held_to_the_limits_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPPRUNER_MAX_IMAGE_PIXELS", str(EACH - 1))
    settings.cache_clear()
    refused = refusal(video_url(avi(frames(2))))
    assert refused.code == "media_too_large"
    assert str(refused).startswith("in the video: its frames are 112 x 84 pixels")


def test_a_stream_that_is_not_what_its_header_says_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its later frames are larger than the first: nothing but the time tells."""
    monkeypatch.setattr(video_io, "SECONDS", -1)
    monkeypatch.setattr(video_io, "PIXELS_A_SECOND", 2**62)
    url = video_url(avi([frame(SIZE), *(frame((800, 600)) for _ in range(3))]))
    refused = refusal(url)
    assert (refused.code, "far longer" in str(refused)) == ("media_too_large", True)


def test_a_video_of_which_frames_are_missing_is_refused_and_not_shown_in_part() -> None:
    video_io.refuse_gaps([0, 2, 4], [0, 2, 4])
    video_io.refuse_gaps([0, 2, 4, 4], [0, 2])  # headers often count one too many
    with pytest.raises(RefusedRequest, match="2 of the 3 frames that are shown are missing"):
        video_io.refuse_gaps([0, 2, 4], [0])


def test_a_header_that_promises_a_billion_frames_costs_what_there_is() -> None:
    shown, known = fetched(video_url(avi(frames(4), said=2**31 - 1)), num_frames=-1)
    assert (len(shown), known["total_num_frames"]) == (4, 4)


def test_frames_that_come_as_pictures_are_all_judged_before_one_is_decoded() -> None:
    url = pictures_url(*frames(4))
    assert fetched(url, 4 * EACH)[0].shape == (4, 84, 112, 3)
    assert refusal(url, 4 * EACH - 1).code == "media_too_large"


def test_pictures_beyond_the_number_of_frames_are_refused_and_not_left_out() -> None:
    refused = refusal(pictures_url(*frames(4)), num_frames=3)
    assert (refused.code, "it has 4 pictures; this server takes 3" in str(refused)) == ("media_too_large", True)
    assert len(fetched(pictures_url(*frames(4)), num_frames=-1)[0]) == 4


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile secret.ts\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        frame(SIZE),
        b"",
    ],
    ids=["playlist", "list of files", "session", "picture", "nothing"],
)
def test_what_may_lead_elsewhere_is_not_opened(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("FFmpeg got it")

    monkeypatch.setattr("vllm.multimodal.video_decoders.opencv.OpenCVVideoBackendMixin.open_video_capture", opened)
    refused = refusal(data_url(content, "video/mp4"))
    assert (refused.field, refused.code) == ("video_url", "invalid_media")


def test_another_decoder_reads_nothing_that_was_not_judged() -> None:
    """None is installed here: what is beyond a limit does not get so far."""
    refused = refusal(video_url(avi(frames(8))), 2**27, 8 * EACH - 1, backend="torchcodec")
    assert refused.code == "media_too_large"
    assert refusal(video_url(avi(frames(8))), backend="torchcodec").code == "invalid_media"
