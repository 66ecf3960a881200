"""AVIF: the sizes that its boxes declare; what Pillow then gets has no EXIF block, which AVIF turns nothing by."""

from __future__ import annotations

import re
import struct
from typing import Final

from .av1 import coded_sizes
from .head import Head, damaged, incomplete, too_large, unusable

_BRANDS: Final = frozenset({b"avif", b"avis"})
_SIZE: Final = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(.{8})", re.DOTALL)
_EXIF: Final = re.compile(rb"(infe[\2\3]...(?:..|....)\0\0)Exif", re.DOTALL)
_COLOUR: Final = re.compile(rb"colrnclx..(..)", re.DOTALL)
_CROP: Final = re.compile(rb"\0\0\0\x28clap(.{32})", re.DOTALL)
"""The part that is to be seen: width, height and the middle's distances from the picture's own, as fractions."""
_MOST_BOXES: Final = 10_000
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


def is_avif(content: bytes) -> bool:
    """Whether it says that it is one."""
    return content[4:8] == b"ftyp" and bool(_BRANDS & {content[at : at + 4] for at in range(8, 64, 4)})


def head(content: bytes) -> Head:
    """What the boxes say before any is decoded.

    Raises:
        UnusablePicture: no AVIF that could be decoded, or one whose end is missing.
    """
    at, meta = 0, b""
    for _ in range(_MOST_BOXES):
        if at >= len(content):
            break
        if at + 8 > len(content):
            raise incomplete("AVIF")
        length, kind = struct.unpack_from(">I4s", content, at)
        if length == 1 and at + 16 <= len(content):
            (length,) = struct.unpack_from(">Q", content, at + 8)
        length = length or len(content) - at
        if length < 8 or at + length > len(content):
            raise incomplete("AVIF")
        if kind == b"meta" and not meta:
            meta = content[at : at + length]
        at += length
    else:
        raise too_large(f"the AVIF image has more than {_MOST_BOXES} boxes")
    sizes = [struct.unpack(">II", found[1]) for found in _SIZE.finditer(meta)]
    if not sizes:
        raise damaged("AVIF", "it declares no size")
    for found in _COLOUR.finditer(meta):
        transfer = int.from_bytes(found[1])
        if transfer in _HDR_TRANSFERS:
            raise unusable(f"the AVIF image is {_HDR_TRANSFERS[transfer]}, high dynamic range, which is not decoded")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    if any(_crops(found[1], sizes) for found in _CROP.finditer(meta)):
        raise unusable("the AVIF image is to be seen in part (a clean aperture), which is not decoded")
    lies = any(size not in sizes for size in coded_sizes(content, meta))
    fault = damaged("AVIF", "it declares another size than its picture has") if lies else None
    return Head("AVIF", width, height, facts=meta, fault=fault)


def clean(content: bytes, seen: Head) -> bytes:
    """The file, its EXIF block under a name that no decoder looks for: its boxes say how it is to be turned."""
    meta: bytes = seen.facts
    return content.replace(meta, _EXIF.sub(rb"\1free", meta), 1)


def _crops(part: bytes, sizes: list[tuple[int, int]]) -> bool:
    """Whether a clean aperture is less than the picture: decoders that know none would show all of it."""
    across, per_across, down, per_down, right, _, below, _ = struct.unpack(">8I", part)
    whole = per_across and per_down and (across / per_across, down / per_down) in sizes
    return not whole or bool(right or below)
