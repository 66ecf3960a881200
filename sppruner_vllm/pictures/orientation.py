"""How a picture is to be turned, read from its metadata without reading the rest of them.

Pillow's own reader copies all that an EXIF block points to, which may be far more than the block.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from PIL import Image

UPRIGHT: Final = 1

SIDEWAYS: Final = frozenset({5, 6, 7, 8})
"""Those that change width for height."""

_ORIENTATION: Final = 0x0112
_INTEGERS: Final = {3: "H", 4: "I"}
"""By EXIF's number for a type. It asks for the first, and some write the second."""
_MOST_ENTRIES: Final = 1024
_IN_XMP: Final = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|\s*>)\s*([0-9])""")
_MOST_XMP: Final = 2**16

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def in_exif(block: bytes) -> int:
    """The orientation in an EXIF block, with or without its `Exif` mark; UPRIGHT where it names none that there is."""
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return UPRIGHT
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for index in range(min(entries, _MOST_ENTRIES, (len(tiff) - start - 2) // 12)):
        entry = start + 2 + 12 * index
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag == _ORIENTATION and kind in _INTEGERS and count == 1:
            return known(struct.unpack_from(order + _INTEGERS[kind], tiff, entry + 8)[0])
    return UPRIGHT


def in_xmp(packet: bytes) -> int:
    """The orientation in an XMP packet; UPRIGHT where it names none."""
    found = _IN_XMP.search(packet, 0, _MOST_XMP)
    return UPRIGHT if found is None else known(int(found[1]))


def known(value: object) -> int:
    """The value itself when it is one of EXIF's eight, else UPRIGHT."""
    return value if isinstance(value, int) and (value in _TURNS) else UPRIGHT


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it is to be seen."""
    return image if orientation == UPRIGHT else image.transpose(_TURNS[orientation])
