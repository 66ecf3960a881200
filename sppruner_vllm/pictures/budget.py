"""How many pixels the pictures and videos of one request may have together.

Each picture is small enough to be decoded, and may be asked to be made so small that any number of them fits into the
prompt: without a bound on all of them, one request would keep a server busy with decoding for minutes. A video is
decoded from its beginning to the last frame that is shown, of which there may be one in a hundred.
"""

from __future__ import annotations

from threading import Lock

from sppruner_vllm.settings import Settings

from .head import of_decoding, too_large


class PixelBudget:
    """What is left of it as pictures and videos come in, from several threads."""

    def __init__(self, pixels: int, video_pixels: int) -> None:
        """Args:
        pixels: most of all pictures, and of all frames of videos that are shown.
        video_pixels: most of all frames of videos that are decoded, shown or not.
        """
        self._pixels = pixels
        self._video_pixels = video_pixels
        self._taken = 0
        self._video_taken = 0
        self._lock = Lock()

    @classmethod
    def of(cls, settings: Settings) -> PixelBudget:
        """The operator's, whole."""
        return cls(settings.max_request_pixels, settings.max_video_pixels)

    def charge(self, name: str, width: int, height: int) -> None:
        """Count a picture, before it is decoded.

        Args:
            name: of its format; what takes longer to decode counts as often as it takes as long.

        Raises:
            UnusablePicture: image_too_large; all so far have too many.
        """
        with self._lock:
            self._taken += width * height * of_decoding(name)
            if self._taken > self._pixels:
                raise too_large(f"the images of this request have more than {self._pixels} pixels together")

    def charge_video(self, decoded: int, shown: int) -> None:
        """Count a video, before it is decoded.

        Args:
            decoded: pixels of all frames up to the last that is shown. shown: of those that are.

        Raises:
            UnusablePicture: image_too_large; all so far have too many.
        """
        with self._lock:
            self._video_taken += decoded
            self._taken += shown
            if self._video_taken > self._video_pixels:
                raise too_large(
                    f"the frames of the videos of this request have more than {self._video_pixels} pixels together, "
                    f"up to the last one that is shown"
                )
            if self._taken > self._pixels:
                raise too_large(
                    f"the images of this request, and the frames of videos that are shown, have more than "
                    f"{self._pixels} pixels together"
                )
