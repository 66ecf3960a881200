"""vLLM's reader of one video, which judges it first: what it comes in, and how many pixels and tokens its frames have.

vLLM (0.32 and 0.33, multimodal/video_decoders) decodes every frame up to the last that it shows, however many the
header promises, and holds those that are shown in memory as a whole.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
from vllm.multimodal.media import VideoMediaIO
from vllm.multimodal.video_decoders.opencv import OpenCVVideoBackendMixin

from sppruner_vllm.pictures import data_url
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.pictures.containers import refuse_others
from sppruner_vllm.pictures.head import Head, too_large, unusable

from .picture_io import PictureIO, limits
from .refusing import refusing
from .room import Room

PICTURES: Final = "video/jpeg"
"""Media type of vLLM's own: pictures in base64, with commas between."""

LEAST_PIXELS: Final = 64 * 64
"""That a frame counts for, however small it is."""

USUAL: Final = frozenset(
    {
        *("avc1", "avc3", "h264", "x264", "hvc1", "hev1", "hevc", "av01", "vp80", "vp08", "vp90", "vp09", "mp4v"),
        *("fmp4", "xvid", "divx", "dx50", "mjpg", "mpg1", "mpg2", "theo", "gif"),
    }
)
"""Codecs that decode 400 million pixels a second and more on one core; lossless and other rare ones do 30 million."""

RARE: Final = 16
"""Times that a frame of any other codec counts."""

SECONDS: Final = 10.0
PIXELS_A_SECOND: Final = 2**24
"""A video may take so long to be decoded, and a second more for so many pixels of it. A stream whose frames grow beyond
what its header says would else be read for hours: FFmpeg brings them to the first one's size, and tells nobody."""

_OPENCV: Final = "opencv"

Judge = Callable[[Any, int, int], float]


class VideoIO(VideoMediaIO):
    """In place of vLLM's VideoMediaIO.

    Raises, from its methods:
        RefusedRequest: the video is none, or beyond a limit.
    """

    video_loader: Any

    def __init__(
        self, image_io: PictureIO, *, room: Room | None = None, budget: PixelBudget | None = None, **kwargs: Any
    ) -> None:
        """Args:
        image_io: reads frames that come as pictures. room: what the prompt has room for; None to leave that to its
            processor. budget: what may be decoded for the request; None for anything.
        """
        super().__init__(image_io, **kwargs)
        self._picture_io = image_io
        self._room = room
        self._budget = budget
        self.video_loader = judging(type(self.video_loader), self._judge)()

    def load_bytes(self, data: bytes) -> Any:
        """The frames that are shown, and what is known of the video."""
        with refusing():
            refuse_others(data)
            if self.kwargs.get("backend", _OPENCV) != _OPENCV:
                self._judge_whole(data)
        return super().load_bytes(data)

    def load_base64(self, media_type: str, data: str) -> Any:
        """As `load_bytes`; or pictures, of which each is a frame."""
        if media_type.lower() != PICTURES:
            with refusing():
                content = data_url.decoded(data)
            return self.load_bytes(content)
        with refusing():
            pictures = data.split(",")
            if 0 < self.num_frames < len(pictures):
                raise too_large(f"it has {len(pictures)} pictures; this server takes {self.num_frames}")
            heads = [self._picture_io.judged(data_url.decoded(picture)).head for picture in pictures]
            if self._budget is not None:
                for head in heads:
                    self._budget.charge(head.format, head.width, head.height)
            # Frames of several sizes are no video.
            if self._room is not None and len({(head.width, head.height) for head in heads}) == 1:
                self._room.take_video(heads[0].width, heads[0].height, len(heads))
        return super().load_base64(media_type, data)

    def _judge_whole(self, data: bytes) -> None:
        """Judge a video that another decoder than OpenCV reads, as if each of its frames were shown."""
        try:
            capture = OpenCVVideoBackendMixin.open_video_capture(data)
        except Exception as error:
            raise unusable("it cannot be opened") from error
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._judge_pixels(capture, frames, frames)

    def _judge(self, capture: Any, decoded: int, shown: int) -> float:
        """Hold a video against the limits and the room, before any of its frames is read. As `_judge_pixels`."""
        seconds = self._judge_pixels(capture, decoded, shown)
        if self._room is not None:
            width, height = _size(capture)
            with refusing():
                # The last frame may be one that there is not (`refuse_gaps`).
                self._room.take_video(width, height, max(1, shown - 1))
        return seconds

    def _judge_pixels(self, capture: Any, decoded: int, shown: int) -> float:
        """Hold a video against the limits of pixels.

        Args:
            capture: OpenCV's, opened. decoded: frames up to the last that is shown. shown: those that are.

        Returns:
            Seconds that decoding may take.

        Raises:
            RefusedRequest: names the limit.
        """
        width, height = _size(capture)
        codec = struct.pack("<I", int(capture.get(cv2.CAP_PROP_FOURCC)) % 2**32).decode("latin-1")
        each = max(LEAST_PIXELS, width * height) * (1 if codec.lower().strip("\0 ") in USUAL else RARE)
        with refusing():
            limits().refuse(Head(codec, width, height), "its frames are")
            if self._budget is not None:
                self._budget.charge_video(decoded * each, shown * width * height)
        return SECONDS + decoded * each / PIXELS_A_SECOND


def _size(capture: Any) -> tuple[int, int]:
    """Width and height of a video's frames, in pixels."""
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def judging(loader: type[Any], judge: Judge) -> type[Any]:
    """A video loader of vLLM's that asks `judge` between a video's header and its first frame.

    Args: judge: takes OpenCV's capture, the frames to decode and those to show; gives the seconds for them.
    """

    def read_frames(cls: type[Any], /, cap: Any, frame_idx: list[int], total_frames_num: int, **kwargs: Any) -> Any:
        seconds = judge(cap, max(frame_idx, default=-1) + 1, len(set(frame_idx)))
        upstream: Any = super(made, cls)
        frames, found = upstream.read_frames(_Timed(cap, seconds), frame_idx, total_frames_num, **kwargs)
        if not kwargs.get("frame_recovery"):
            refuse_gaps(frame_idx, found)
        return frames, found

    made: type[Any] = type(f"Judging{loader.__name__}", (loader,), {"read_frames": classmethod(read_frames)})
    return made


def refuse_gaps(wanted: Sequence[int], found: Sequence[int]) -> None:
    """Refuse a video of which frames are missing, but for the last: headers often count one too many.

    Raises:
        RefusedRequest: frames are missing.
    """
    missing = {*wanted} - {*found}
    if missing - {max(wanted)}:
        with refusing():
            raise unusable(f"it is damaged: {len(missing)} of the {len({*wanted})} frames that are shown are missing")


class _Timed:
    """OpenCV's capture, which decodes for so many seconds and no longer."""

    def __init__(self, capture: Any, seconds: float) -> None:
        self._capture = capture
        self._end = time.monotonic() + seconds

    def grab(self) -> bool:
        """Whether there was another frame, which is decoded by now."""
        self._look()
        return bool(self._capture.grab())

    def read(self) -> Any:
        """The next frame."""
        self._look()
        return self._capture.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)

    def _look(self) -> None:
        if time.monotonic() > self._end:
            with refusing():
                raise too_large("decoding it takes far longer than what its header says would")
