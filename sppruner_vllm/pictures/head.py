"""What the head of a picture says of it, and the limits that this must keep before anything is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from sppruner_vllm.errors import UnusablePicture
from sppruner_vllm.settings import Settings

IMAGE_TOO_LARGE: Final = "image_too_large"


@dataclass(frozen=True, slots=True)
class Head:
    """A picture before it is decoded.

    format: Pillow's name of its format. width, height: of its first frame's canvas, in pixels as they are stored.
    frames: at least that many; 1 where the format's other frames cost nothing.
    orientation: EXIF's, 1 to 8: how the stored picture is to be turned.
    facts: what the format's own reader needs later.
    fault: what is wrong with it all the same, to be raised once the limits were kept.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    orientation: int = 1
    facts: Any = None
    fault: UnusablePicture | None = None


_SLOWER: Final = {"AVIF": 2, "JPEG2000": 8, "WEBP": 2}
"""Times that decoding a format may take as long as that of the others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """pixels, side, frames: most of one picture. aspect: most of its longer side over its shorter."""

    pixels: int
    side: int
    aspect: int
    frames: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The operator's."""
        return cls(
            pixels=settings.max_image_pixels,
            side=settings.max_image_side,
            aspect=settings.max_image_aspect,
            frames=settings.max_image_frames,
        )

    def refuse(self, head: Head, what: str = "the image is") -> None:
        """Refuse a picture for what it says of itself.

        Args:
            what: the beginning of a sentence about its size.

        Raises:
            UnusablePicture: image_too_large, with what there is too much of.
        """
        refuse_empty(head.width, head.height)
        if self.exceeded(head.width, head.height):
            raise too_large(
                f"{what} {head.width} x {head.height} pixels; this server takes {self.pixels} pixels, "
                f"{self.side} along a side"
            )
        self.refuse_shape(head.width, head.height, what)
        if head.frames > self.frames:
            raise too_large(f"the image has {head.frames} frames or more; this server takes {self.frames}")

    def of_format(self, name: str) -> Limits:
        """Those for pictures of a format: fewer pixels where decoding them takes longest."""
        return replace(self, pixels=max(1, self.pixels // of_decoding(name)))

    def refuse_shape(self, width: int, height: int, what: str = "the image is") -> None:
        """Refuse what is far longer than wide. Args: what: as in `refuse`.

        Raises:
            UnusablePicture: image_too_large.
        """
        if max(width, height) > self.aspect * min(width, height):
            raise too_large(
                f"{what} {width} x {height} pixels; one side may be {self.aspect} times as long as the other"
            )

    def exceeded(self, width: int, height: int) -> bool:
        """Whether a picture has too many pixels, or too many along a side."""
        return width * height > self.pixels or max(width, height) > self.side

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """The largest size of the same shape that keeps the limits of pixels and sides, at least 1 x 1."""
        scale = min(1.0, math.sqrt(self.pixels / (width * height)), self.side / max(width, height))
        return max(1, int(width * scale)), max(1, int(height * scale))


def of_decoding(name: str) -> int:
    """Times that decoding a format takes as long as that of most others."""
    return _SLOWER.get(name, 1)


def refuse_empty(width: int, height: int) -> None:
    """Refuse a picture without pixels.

    Raises:
        UnusablePicture: invalid_image.
    """
    if width < 1 or height < 1:
        raise unusable(f"the image says that it is {width} x {height} pixels")


def unusable(message: str) -> UnusablePicture:
    """The refusal of what cannot be read."""
    return UnusablePicture(message)


def too_large(message: str) -> UnusablePicture:
    """The refusal of what is beyond a limit."""
    return UnusablePicture(message, code=IMAGE_TOO_LARGE)


def incomplete(kind: str) -> UnusablePicture:
    """The refusal of a picture whose end is missing."""
    return unusable(f"the {kind} image is incomplete: its data ends early")


def short(kind: str, width: int, height: int) -> UnusablePicture:
    """The refusal of a picture that declares more pixels than its data can hold."""
    return damaged(kind, f"it declares {width} x {height} pixels and has data for fewer")


def damaged(kind: str, what: str) -> UnusablePicture:
    """The refusal of a picture that contradicts itself."""
    return unusable(f"the {kind} image is damaged: {what}")
