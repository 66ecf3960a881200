"""PNG: every chunk's checksum holds, and the pixels' own; what Pillow then gets is pixels alone.

Pillow checks neither, and takes what damaged data happens to mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from . import orientation
from .head import Head, damaged, incomplete, refuse_empty, short, too_large, unusable

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MOST_INFLATED: Final = 1032
"""Bytes that one byte of deflated data can stand for, at most."""

_MOST_CHUNKS: Final = 100_000
_MOST_PROFILE: Final = 2**16
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_INDEXED: Final = 3
_GREY_OR_COLOUR: Final = (0, 2)
_HDR_TRANSFERS: Final = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, slots=True)
class Facts:
    """depth: bits of a sample. colour: PNG's colour type. data: start and length of each piece of the packed pixels."""

    depth: int
    colour: int
    interlaced: bool
    palette: bytes = b""
    transparency: bytes = b""
    data: tuple[tuple[int, int], ...] = ()


def head(content: bytes) -> Head:
    """What the chunks say before any is unpacked.

    Raises:
        UnusablePicture: no PNG that could be decoded, or one that has fewer data than it declares pixels.
    """
    facts, width, height = _header(content)
    frames, turned, seen = 1, orientation.UPRIGHT, False
    palette, transparency, data = b"", b"", []
    for kind, start, length in _chunks(content):
        body = content[start : start + min(length, _MOST_PROFILE)]
        match kind:
            case b"IDAT":
                data.append((start, length))
            case b"PLTE" if not data and not palette:
                palette = content[start : start + length]
            case b"tRNS" if not data and not transparency:
                transparency = content[start : start + length]
                _refuse_other_keys(facts, palette, transparency)
            case b"acTL" if length == 8 and not data:
                frames = int.from_bytes(body[:4])
            case b"cICP" if length == 4 and body[1] in _HDR_TRANSFERS:
                raise unusable(f"the PNG image is {_HDR_TRANSFERS[body[1]]}, high dynamic range, which is not decoded")
            case b"IHDR" | b"PLTE" | b"tRNS":
                if seen:
                    raise damaged("PNG", "a chunk stands where it must not")
            case _ if kind[:1].isupper() and kind != b"IEND":
                raise damaged("PNG", "a chunk of an unknown kind that must be understood")
            case _ if turned == orientation.UPRIGHT:
                turned = _orientation(kind, body)
        seen = True
    if not data:
        raise incomplete("PNG")
    facts = replace(facts, palette=palette, transparency=transparency, data=tuple(data))
    size = _unpacked_bytes(facts, width, height)
    lacks = size > MOST_INFLATED * (sum(length for _, length in facts.data) + 1)
    return Head("PNG", width, height, frames, turned, facts, short("PNG", width, height) if lacks else None)


def clean(content: bytes, seen: Head) -> bytes:
    """The same pixels as a PNG without anything else, packed so that unpacking costs nothing.

    Raises:
        UnusablePicture: a checksum does not hold, or the data is not exactly that of the pixels.
    """
    facts: Facts = seen.facts
    for kind, start, length in _chunks(content):
        view = memoryview(content)[start - 4 : start + length]
        if zlib.crc32(view) != int.from_bytes(content[start + length : start + length + 4]):
            raise damaged("PNG", f"the checksum of a chunk ({kind.decode('latin-1')}) does not hold")
    pixels = _inflated(content, facts, _unpacked_bytes(facts, seen.width, seen.height))
    parts = [SIGNATURE, chunk(b"IHDR", content[16:29])]
    if facts.palette:
        parts.append(chunk(b"PLTE", facts.palette))
    if facts.transparency:
        parts.append(chunk(b"tRNS", facts.transparency))
    packed = zlib.compress(pixels, 0)
    del pixels
    return b"".join([*parts, chunk(b"IDAT", packed), chunk(b"IEND", b"")])


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _refuse_other_keys(facts: Facts, palette: bytes, transparency: bytes) -> None:
    """Refuse a transparency of none of the picture's colours: decoders take it in different ways, or not at all."""
    if facts.colour in _GREY_OR_COLOUR:
        levels = struct.unpack(f">{len(transparency) // 2}H", transparency[: len(transparency) & ~1])
        fits = len(transparency) == 2 * _CHANNELS[facts.colour] and max(levels, default=0) < 2**facts.depth
    else:
        # Behind a colour's own transparency there is no place for another; decoders pass it by.
        fits = facts.colour != _INDEXED or len(transparency) <= len(palette) // 3
    if not fits:
        raise damaged("PNG", "its transparency is no colour that it has")


def _header(content: bytes) -> tuple[Facts, int, int]:
    if len(content) < 33:
        raise incomplete("PNG")
    length, kind, width, height, depth, colour, packing, filtering, interlace = struct.unpack_from(
        ">I4sIIBBBBB", content, 8
    )
    if (length, kind) != (13, b"IHDR"):
        raise damaged("PNG", "it does not begin with its header")
    refuse_empty(width, height)
    if depth not in _DEPTHS.get(colour, ()) or packing or filtering or interlace > 1 or max(width, height) >= 2**31:
        raise damaged("PNG", "its header has values that there are not")
    return Facts(depth, colour, bool(interlace)), width, height


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of each chunk's body, to the one that ends the picture.

    Raises:
        UnusablePicture: the picture ends before that, or has too many.
    """
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(content):
            raise incomplete("PNG")
        length, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + length > len(content):
            raise incomplete("PNG")
        if not kind.isalpha():
            raise damaged("PNG", "a chunk of a kind that there cannot be")
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise too_large(f"the PNG image has more than {_MOST_CHUNKS} chunks")


def _orientation(kind: bytes, body: bytes) -> int:
    match kind:
        case b"eXIf":
            return orientation.in_exif(body)
        case b"iTXt" if body.startswith(b"XML:com.adobe.xmp\0\0"):
            return orientation.in_xmp(body)
        case b"zTXt" if body.startswith(b"Raw profile type exif\0\0"):
            return orientation.in_exif(_profile(body[23:]))
    return orientation.UPRIGHT


def _profile(packed: bytes) -> bytes:
    """An EXIF block as ImageMagick writes it: hexadecimal, behind three lines that name it."""
    try:
        text = zlib.decompressobj().decompress(packed, _MOST_PROFILE)
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except (ValueError, zlib.error):
        return b""


def _unpacked_bytes(facts: Facts, width: int, height: int) -> int:
    """Bytes of the filtered rows, each with the byte that names its filter."""
    bits = _CHANNELS[facts.colour] * facts.depth
    if not facts.interlaced:
        return height * (1 + -(-width * bits // 8))
    total = 0
    for left, top, across, down in _ADAM7:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _inflated(content: bytes, facts: Facts, size: int) -> bytes:
    if facts.colour == _INDEXED and not (facts.palette and len(facts.palette) % 3 == 0 and len(facts.palette) <= 768):
        raise damaged("PNG", "its palette is missing or no palette")
    for (start, length), (following, _) in zip(facts.data, facts.data[1:], strict=False):
        if start + length + 12 != following:
            raise damaged("PNG", "its pixels are not in one piece")
    unpacker, parts, left = zlib.decompressobj(), [], size + 1
    try:
        for start, length in facts.data:
            part = unpacker.decompress(memoryview(content)[start : start + length], max(left, 1))
            parts.append(part)
            left -= len(part)
            if left <= 0:
                break
    except zlib.error as error:
        raise damaged("PNG", "its pixels cannot be unpacked") from error
    if left <= 0:
        raise damaged("PNG", "it has more data than it declares pixels")
    if left > 1 or not unpacker.eof:
        raise incomplete("PNG")
    return b"".join(parts)
