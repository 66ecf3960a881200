"""Any mode that Pillow decodes to, as levels of 0 to 255 that mean what the picture meant; else refused.

Pillow clips what has more than eight bits, and does not invert what TIFF stores the other way round.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from PIL import Image

from .gif import Frame
from .head import Head, damaged, unusable
from .png import Facts as PngFacts
from .tiff import Facts as TiffFacts

Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)

_DEEP: Final = 65535
_FLAT: Final = frozenset({"1", "CMYK", "L", "RGB", "YCbCr"})
_SEEN_THROUGH: Final = frozenset({"LA", "PA", "RGBA"})
_UNMULTIPLIED: Final = {"La": "LA", "RGBa": "RGBA"}


def levelled(image: Image.Image, seen: Head) -> Image.Image:
    """The image in a mode of eight bits, its transparency in an alpha channel.

    Args:
        image: decoded, upright or not. seen: its head.

    Raises:
        UnusablePicture: its values have no range that is known.
    """
    if image.mode.startswith("I;16"):
        return _grey(image, seen, _white(seen))
    if image.mode == "I":
        if seen.format != "PPM":  # whose levels Pillow has scaled
            raise unusable(f"the {seen.format} image has 32-bit or signed levels, whose range is not known")
        return _grey(image, seen, _DEEP)
    if image.mode == "F":
        return _from_floats(image, seen)
    if image.mode in _UNMULTIPLIED:
        return image.convert(_UNMULTIPLIED[image.mode])
    if image.mode in {"P", "PA"}:
        _refuse_beyond_palette(image, seen)
    if "transparency" in image.info:
        return _with_alpha(image, seen)
    if image.mode in _FLAT | _SEEN_THROUGH | {"P"}:
        return image
    raise unusable(f"the {seen.format} image has colours ({image.mode}) that are not decoded")


def flattened(image: Image.Image, background: Colour) -> Image.Image:
    """A levelled image in RGB, over the background where one can see through it."""
    if image.mode == "RGB":
        return image
    if image.mode not in _SEEN_THROUGH:
        return image.convert("RGB")
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def placed(image: Image.Image, seen: Head, background: Colour) -> Image.Image:
    """A flattened image on its canvas; only a GIF's first frame may be less than that."""
    if not isinstance(seen.facts, Frame) or image.size == (seen.width, seen.height):
        return image
    canvas = Image.new("RGB", (seen.width, seen.height), background)
    canvas.paste(image, (seen.facts.left, seen.facts.top))
    return canvas


def _white(seen: Head) -> int:
    """The level that is white."""
    return 2**seen.facts.bits - 1 if isinstance(seen.facts, TiffFacts) else _DEEP


def _grey(image: Image.Image, seen: Head, white: int) -> Image.Image:
    levels = np.asarray(image).astype(np.uint32)
    grey = ((levels * 255 + white // 2) // white).astype(np.uint8)
    result = _inverted_where_stored_so(grey, seen)
    if "transparency" not in image.info:
        return result
    seen_through = levels == image.info["transparency"]
    result.putalpha(Image.fromarray(np.where(seen_through, 0, 255).astype(np.uint8)))
    return result


def _from_floats(image: Image.Image, seen: Head) -> Image.Image:
    values = np.asarray(image)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise unusable(f"the {seen.format} image has floating-point levels outside 0 to 1, whose range is not known")
    return _inverted_where_stored_so((values * 255 + 0.5).astype(np.uint8), seen)


def _inverted_where_stored_so(grey: np.ndarray, seen: Head) -> Image.Image:
    """Pillow inverts what has up to eight bits, and nothing deeper."""
    if isinstance(seen.facts, TiffFacts) and seen.facts.white_is_zero:
        grey = 255 - grey
    return Image.fromarray(grey)


def _refuse_beyond_palette(image: Image.Image, seen: Head) -> None:
    indices = image if image.mode == "P" else image.getchannel(0)
    most: Any = indices.getextrema()[1]
    palette = image.palette
    if palette is not None and most >= len(palette.palette) // len(palette.mode):
        raise damaged(seen.format, "it has colours that are not in its palette")


def _with_alpha(image: Image.Image, seen: Head) -> Image.Image:
    facts = seen.facts[1].facts if seen.format == "ICO" and seen.facts[1] is not None else seen.facts
    if isinstance(facts, PngFacts):
        if facts.colour == 2 and facts.depth == 16:
            raise unusable("the PNG image names a transparent colour of 16 bits a sample, which is not decoded")
        if facts.colour == 0 and 1 < facts.depth < 8:
            # Pillow scales the levels and not the one that can be seen through.
            image.info["transparency"] *= 255 // (2**facts.depth - 1)
    if image.mode == "1":
        image = _as_grey(image)
    return image.convert("RGBA")


def _as_grey(image: Image.Image) -> Image.Image:
    grey = image.convert("L")
    grey.info["transparency"] = image.info["transparency"]
    return grey
