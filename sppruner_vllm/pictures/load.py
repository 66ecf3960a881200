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

_SLOW: Final = frozenset({"BMP", "PPM", "QOI"})
_MOST_PYTHON_PIXELS: Final = 2**21


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
    return Judged(content, head, _size(head, how))


def decode(judged: Judged, how: Decoding) -> tuple[Image.Image, str]:
    """The picture, upright and in eight bits, and the mode that it came in.

    Raises:
        UnusablePicture: it is damaged, or means something that is not known.
    """
    head, shrinks = judged.head, judged.shrunk_from is not None
    name, sound = formats.clean(judged.content, head)
    image = _decoded(sound, name, head, judged.size if shrinks else None)
    if name == "JPEG" and not shrinks:
        jpeg.refuse_short(image, judged.content, head)
    came_in = image.mode
    image = levelled(image, head)
    if how.mode == "RGB" or head.format == "GIF":
        image = placed(flattened(image, how.background), head, how.background)
    if how.mode is not None and image.mode != how.mode:
        image = image.convert(how.mode)
    if shrinks:
        image = image.resize(judged.size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    image = orientation.upright(image, head.orientation)
    image.info = {}
    return image, came_in


def _size(seen: Head, how: Decoding) -> tuple[int, int]:
    """The size to bring the picture to.

    Raises:
        UnusablePicture: it is beyond a limit, and not to be shrunk.
    """
    limits = how.limits
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
    if name in _SLOW and image.width * image.height > _MOST_PYTHON_PIXELS and _decoded_in_python(image):
        raise too_large(f"the {name} image is packed in a way that takes long; {_MOST_PYTHON_PIXELS} pixels may be")
    try:
        image.load()
    except Exception as error:  # Pillow's plugins raise nearly every class of exception
        raise damaged(seen.format, "it ends early or cannot be decoded") from error
    return image


def _decoded_in_python(image: Image.Image) -> bool:
    """Whether Pillow decodes it row by row in Python, as plain PPM, packed BMP and QOI."""
    tiles = getattr(image, "tile", [])
    return any(tile[0] in {"bmp_rle", "ppm", "ppm_plain", "qoi"} for tile in tiles)
