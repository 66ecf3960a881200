"""A picture from its bytes: judged from its head, checked, decoded once, upright and in eight bits.

Nothing is tried twice and nothing is taken as far as it goes: a picture is right, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image

from . import formats, jpeg, orientation
from .head import Head, Limits, damaged, too_large
from .levels import WHITE, Colour, flattened, levelled, placed

SHRINKABLE: Final = 4
"""Times the limit of pixels up to which a picture is shrunk where the operator wants that."""

_IN_PYTHON: Final = frozenset({"bmp_rle", "ppm", "ppm_plain", "qoi"})
_MOST_IN_PYTHON: Final = 2**18
"""Pixels of what Pillow decodes in Python: half a second."""
_MOST_BYTES_A_PIXEL: Final = 32


@dataclass(frozen=True, slots=True)
class Decoding:
    """How pictures are decoded.

    mode: Pillow's mode to bring them to; None leaves what has eight bits as it is.
    background: what shows through them.
    shrink: whether one beyond the limits of pixels and sides is made smaller instead of refused.
    """

    limits: Limits
    mode: str | None = "RGB"
    background: Colour = WHITE
    shrink: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture that is within the limits, not decoded yet. size: that it will have as it is stored."""

    content: bytes
    head: Head
    size: tuple[int, int]

    @property
    def shrunk_from(self) -> tuple[int, int] | None:
        """The size it has, where it will be made smaller."""
        own = self.head.width, self.head.height
        return None if self.size == own else own


def judge(content: bytes, how: Decoding) -> Judged:
    """Look at the head of a picture.

    Raises:
        UnusablePicture: it is none, or beyond a limit.
    """
    head = formats.head(content)
    size = _size(head, how)
    if head.fault is not None:
        raise head.fault
    return Judged(content, head, size)


def decode(judged: Judged, how: Decoding) -> tuple[Image.Image, str]:
    """The picture, upright and in eight bits, and the mode that it came in.

    Raises:
        UnusablePicture: it is damaged, or means something that is not known.
    """
    head, shrinks = judged.head, judged.shrunk_from is not None
    name, sound = formats.clean(judged.content, head)
    at_least = judged.size if shrinks else None
    image = jpeg.decoded(sound, head) if name == "JPEG" and not shrinks else None
    if image is None:
        image = _decoded(sound, name, head, at_least)
        if name == "JPEG":
            jpeg.refuse_short(image, judged.content, head, at_least)
    came_in = image.mode
    # Pillow writes what AVIF's boxes say into an EXIF block.
    turned = orientation.in_exif(image.info.get("exif", b"")) if name == "AVIF" else head.orientation
    image = levelled(image, head)
    if how.mode == "RGB" or head.format == "GIF":
        image = placed(flattened(image, how.background), head, how.background)
    if how.mode is not None and image.mode != how.mode:
        image = image.convert(how.mode)
    if shrinks:
        image = image.resize(judged.size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    image = orientation.upright(image, turned)
    image.info.clear()
    return image, came_in


def _size(seen: Head, how: Decoding) -> tuple[int, int]:
    """The size to bring the picture to.

    Raises:
        UnusablePicture: it is beyond a limit, and not to be shrunk.
    """
    limits = how.limits.of_format(seen.format)
    if how.shrink and limits.exceeded(seen.width, seen.height):
        limits.refuse_shape(seen.width, seen.height)
        most = Limits(SHRINKABLE * limits.pixels, SHRINKABLE * limits.side, limits.aspect, limits.frames)
        most.refuse(seen)
        return limits.fitted(seen.width, seen.height)
    limits.refuse(seen)
    return seen.width, seen.height


def _decoded(content: bytes, name: str, seen: Head, at_least: tuple[int, int] | None) -> Image.Image:
    """The picture as Pillow decodes it; a JPEG of which a smaller form is wanted may be smaller already."""
    image = formats.opened(content, name)
    if name == "JPEG" and at_least is not None:
        image.draft(None, at_least)
    elif image.size != (seen.width, seen.height) and seen.format != "GIF":  # whose frame may be less than its canvas
        raise damaged(seen.format, "its parts say different sizes")
    if any(tile[0] in _IN_PYTHON for tile in getattr(image, "tile", ())):
        _refuse_slow(image, len(content), name)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly every class of exception
        raise damaged(seen.format, "it ends early or cannot be decoded") from error
    return image


def _refuse_slow(image: Image.Image, size: int, name: str) -> None:
    """Pillow decodes plain and odd PPM, packed BMP and QOI value by value in Python."""
    pixels = image.width * image.height
    if pixels > _MOST_IN_PYTHON or size > _MOST_BYTES_A_PIXEL * pixels + 2**16:
        raise too_large(f"a {name} image that is packed like this one may have {_MOST_IN_PYTHON} pixels")
