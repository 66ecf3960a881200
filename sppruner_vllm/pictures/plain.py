"""Formats whose heads Pillow reads as it opens them: what it would guess at there, or take its time for, is refused."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from .head import damaged, too_large, unusable

_LONGEST_PPM: Final = 1024
_PPM_COMMENT: Final = re.compile(rb"#[^\r\n]*[\r\n]")
_PPM_NUMBER: Final = re.compile(rb"-?[0-9.]+")
_BITMAPS: Final = (b"P1", b"P4")
_FLOATS: Final = (b"Pf", b"PF")
_PACKED: Final = (b"P5", b"P6")
_MOST_OF_A_BYTE: Final = 255

_FIRST_TILE: Final = re.compile(rb"\xff\x4f\xff\x51.*?\xff\x90", re.DOTALL)
_LONGEST_JPEG2000: Final = 2**20
_SIZES: Final = 8
"""Bytes from the start of a codestream to the sizes of picture and tiles."""
_COMPONENTS: Final = 40
"""The same to the number of components; of each stand depth and spacing behind it."""
_MOST_TILES: Final = 2**12
_TILE_PART: Final = b"\xff\x90\x00\x0a"
_SIGNED: Final = 0x80
_MOST_PARTS: Final = 2**16

_BMP_HEAD: Final = 54
_RUNS: Final = {1: 1, 2: 2}
"""By BMP's number for a packing in runs: pixels of a byte."""
_MOST_IN_RUNS: Final = 2**18
"""Pixels up to which runs are looked at; such a picture with more is too large to be decoded."""
_END_OF_ROW, _END, _JUMP = 0, 1, 2

_TGA_HEAD: Final = 18
_ALPHA_BITS: Final = {16: (0,), 32: (8,)}
"""By the bits of a pixel: bits of transparency that decoders agree on."""


def refuse_plain(content: bytes, name: str) -> None:
    """Refuse a picture of such a format for what its head says, or does not say soon.

    Raises:
        UnusablePicture: says what is wrong.
    """
    if (check := _CHECKS.get(name)) is not None:
        check(content)


def _ppm(content: bytes) -> None:
    # Pillow looks at each byte of comments and blanks before the numbers.
    words = _PPM_COMMENT.sub(b" ", content[:_LONGEST_PPM]).split()
    numbers = words[1 : 3 if content[:2] in _BITMAPS else 4]
    if len(numbers) < 2 or not all(_PPM_NUMBER.fullmatch(number) for number in numbers[:-1]):
        raise unusable("the PPM image does not begin as one")
    last = numbers[-1]
    if content.startswith(_FLOATS) and abs(float(last) if _PPM_NUMBER.fullmatch(last) else 0.0) != 1:
        raise unusable("the PPM image has floating-point levels on a scale of its own, whose range is not known")
    if content.startswith(_PACKED) and last.isdigit() and int(last) < _MOST_OF_A_BYTE:
        # Levels are bytes, and stand behind all that is no level.
        start = re.search(rb"\s%b\s" % last, content[:_LONGEST_PPM])
        if start is not None and np.frombuffer(content, np.uint8, offset=start.end()).max(initial=0) > int(last):
            raise damaged("PPM", "it has levels above the highest that it declares")


def _jpeg2000(content: bytes) -> None:
    # Pillow looks at each marker before the first tile.
    found = _FIRST_TILE.search(content, 0, _LONGEST_JPEG2000)
    if found is None:
        raise unusable("the JPEG2000 image does not begin as one")
    at = found.start() + _COMPONENTS
    (components,) = struct.unpack_from(">H", content.ljust(at + 2, b"\0"), at)
    if any(depth & _SIGNED for depth in content[at + 2 : at + 2 + 3 * components : 3]):
        raise unusable("the JPEG2000 image has signed levels, whose range is not known")
    width, height, _, _, across, down, left, top = struct.unpack_from(">8I", content, found.start() + _SIZES)
    tiles = math.prod(
        -(-(side - start) // max(step, 1)) for side, start, step in ((width, left, across), (height, top, down))
    )
    if tiles > _MOST_TILES:
        raise too_large(f"the JPEG2000 image has {tiles} tiles; this server takes {_MOST_TILES}")
    if len(_tiles_of(content, found.end() - 2)) < tiles:
        raise damaged("JPEG2000", "tiles of it are missing")


def _tiles_of(content: bytes, at: int) -> set[int]:
    """The numbers of the tiles that have a part. Args: at: of the first part."""
    found: set[int] = set()
    for _ in range(_MOST_PARTS):
        if content[at : at + 4] != _TILE_PART or at + 10 > len(content):
            break
        number, length = struct.unpack_from(">HI", content, at + 4)
        found.add(number)
        if not length:  # to the end
            break
        at += length
    return found


def _tga(content: bytes) -> None:
    if len(content) < _TGA_HEAD:
        raise damaged("TGA", "it ends early or cannot be decoded")
    bits, alpha = content[16], content[17] & 15
    if alpha not in _ALPHA_BITS.get(bits, (alpha,)) and content[2] & 3 != 3:
        raise unusable(f"the TGA image has {alpha} bits of transparency in pixels of {bits}, which is not decoded")


def _bmp(content: bytes) -> None:
    """Refuse a picture in runs that leaves pixels open: decoders fill them as they like."""
    if len(content) < _BMP_HEAD:
        return
    at, width, height, _, _, packing = struct.unpack_from("<I4xiiHHI", content, 10)
    if packing not in _RUNS or not 0 < width * height <= _MOST_IN_RUNS:
        return
    rows = across = 0
    while at + 1 < len(content) and rows < height:
        count, what = content[at], content[at + 1]
        at += 2
        if count:
            across += count
        elif what == _END_OF_ROW:
            if across < width:
                break
            rows, across = rows + 1, 0
        elif what in (_END, _JUMP):
            break
        else:
            across += what
            at += 2 * -(-what // (2 * _RUNS[packing]))
    if rows < height - (across >= width):
        raise damaged("BMP", "it ends early, or leaves pixels open")


_CHECKS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "BMP": _bmp,
    "JPEG2000": _jpeg2000,
    "PPM": _ppm,
    "TGA": _tga,
}
