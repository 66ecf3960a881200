"""ICO and CUR: the largest picture of the directory, which is a PNG or a bitmap; what Pillow gets is that one alone."""

from __future__ import annotations

import struct
from typing import Final

from . import png
from .head import Head, damaged, incomplete, refuse_empty, short, unusable

SIGNATURE: Final = b"\0\0\1\0"

_ENTRY: Final = 16
_BITMAP: Final = 40


def head(content: bytes) -> Head:
    """What the directory and the head of its largest picture say.

    Raises:
        UnusablePicture: no icon that could be decoded.
    """
    (count,) = struct.unpack_from("<H", content.ljust(6, b"\0"), 4)
    if len(content) < 6 + _ENTRY * count:
        raise incomplete("ICO")
    entries = [content[6 + _ENTRY * index : 6 + _ENTRY * (index + 1)] for index in range(count)]
    if not entries:
        raise damaged("ICO", "it has no picture")
    # The largest, and of those the one with most colours.
    entry = max(entries, key=lambda entry: ((entry[0] or 256) * (entry[1] or 256), struct.unpack_from("<H", entry, 6)))
    size, start = struct.unpack_from("<II", entry, 8)
    picture = content[start : start + size]
    if len(picture) < size or size < _BITMAP:
        raise incomplete("ICO")
    if picture.startswith(png.SIGNATURE):
        inner = png.head(picture)
        return Head("ICO", inner.width, inner.height, 1, inner.orientation, (picture, inner), inner.fault)
    told, width, height, _, bits, packing = struct.unpack_from("<IiiHHI", picture)
    if told != _BITMAP or packing:
        raise unusable("the ICO image holds a bitmap of a kind that is not decoded")
    height //= 2  # the mask stands below the picture
    refuse_empty(width, height)
    rows = height * (4 * -(-width * bits // 32) + (0 if bits == 32 else 4 * -(-width // 32)))
    fault = short("ICO", width, height) if len(picture) < _BITMAP + rows else None
    if bits == 32 and fault is None and not any(picture[_BITMAP + 3 : _BITMAP + 4 * width * height : 4]):
        raise unusable("the ICO image has a place for transparency and none in it, which decoders take in two ways")
    single = SIGNATURE + struct.pack("<H", 1)
    single += bytes([width % 256, height % 256]) + entry[2:12] + struct.pack("<I", 6 + _ENTRY) + picture
    return Head("ICO", width, height, 1, facts=(single, None), fault=fault)


def clean(content: bytes, seen: Head) -> tuple[str, bytes]:
    """The format of the picture, and the picture."""
    picture, inner = seen.facts
    return ("ICO", picture) if inner is None else ("PNG", png.clean(picture, inner))
