"""WebP: every chunk whole; what Pillow then gets is the picture, or an animation's first frame, alone.

Pillow's decoder makes room for the whole canvas when it opens a file, so that the canvas is judged before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from . import orientation
from .head import Head, damaged, incomplete, too_large

_MOST_CHUNKS: Final = 100_000
_ICC, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02


def is_webp(content: bytes) -> bool:
    """Whether it says that it is one."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def head(content: bytes) -> Head:
    """What the chunks say before any is decoded.

    Raises:
        UnusablePicture: no WebP that could be decoded, or one whose end is missing.
    """
    size, frames, turned, parts, whole = None, 0, orientation.UPRIGHT, [], False
    end = 8 + int.from_bytes(content[4:8], "little")
    if len(content) < end:
        raise incomplete("WebP")
    for kind, start, length in _chunks(content, 12, end):
        body = content[start : start + length]
        match kind:
            case b"VP8X" if size is None and length >= 10:
                size = 1 + _uint24(body, 4), 1 + _uint24(body, 7)
                flags = body[0] & ~(_ICC | _EXIF | _XMP)
                # What a first frame leaves of its canvas is nobody's colour, which Pillow makes black without alpha.
                flags |= _ALPHA if flags & _ANIMATION else 0
                parts.append(_chunk(kind, bytes([flags]) + body[1:]))
            case b"VP8 " | b"VP8L" if not whole and not frames:
                inner = _still(kind, body)
                if size not in {None, inner}:
                    raise damaged("WebP", "its picture has another size than its canvas")
                size, whole = inner, True
                parts.append(_chunk(kind, body))
            case b"ANMF":
                frames += 1
                if frames == 1:
                    _refuse_outside(size, body)
                    parts.append(_chunk(kind, body))
            case b"ALPH" | b"ANIM" if not whole and not frames:
                parts.append(_chunk(kind, body))
            case b"EXIF":
                turned = orientation.in_exif(body)
            case b"XMP " if turned == orientation.UPRIGHT:
                turned = orientation.in_xmp(body)
    if size is None or not (whole or frames):
        raise damaged("WebP", "it has no picture")
    return Head("WEBP", *size, max(frames, 1), turned, b"".join(parts))


def clean(content: bytes, seen: Head) -> bytes:
    """The file without metadata and further frames."""
    body: bytes = seen.facts
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _chunks(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MOST_CHUNKS):
        if at >= end:
            return
        if at + 8 > end:
            raise incomplete("WebP")
        kind, length = struct.unpack_from("<4sI", content, at)
        if at + 8 + length > end:
            raise incomplete("WebP")
        yield kind, at + 8, length
        at += 8 + length + length % 2
    raise too_large(f"the WebP image has more than {_MOST_CHUNKS} chunks")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _still(kind: bytes, body: bytes) -> tuple[int, int]:
    """The size that a picture's own head has."""
    if len(body) < 10:
        raise incomplete("WebP")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        if body[0] != 0x2F:
            raise damaged("WebP", "its picture does not begin as one")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if body[3:6] != b"\x9d\x01\x2a":
        raise damaged("WebP", "its picture does not begin as one")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _refuse_outside(size: tuple[int, int] | None, frame: bytes) -> None:
    """A frame has to lie on the canvas, and its picture has to have the size that the frame says."""
    if size is None or len(frame) < 24:
        raise damaged("WebP", "a frame comes before its canvas")
    left, top, width, height = (
        2 * _uint24(frame, 0),
        2 * _uint24(frame, 3),
        _uint24(frame, 6) + 1,
        _uint24(frame, 9) + 1,
    )
    if left + width > size[0] or top + height > size[1]:
        raise damaged("WebP", "a frame lies outside its canvas")
    for kind, start, length in _chunks(frame, 16, len(frame)):
        if kind in {b"VP8 ", b"VP8L"} and _still(kind, frame[start : start + length]) != (width, height):
            raise damaged("WebP", "a frame has another size than its picture")


def _uint24(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 3], "little")
