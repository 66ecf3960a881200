"""GIF: every block whole to the end of the file; what Pillow then gets is the first frame alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from .head import Head, damaged, incomplete, refuse_empty, short, too_large

SIGNATURES: Final = (b"GIF87a", b"GIF89a")

MOST_UNPACKED: Final = 2731
"""Pixels that one byte of LZW codes can stand for, at most: a code of twelve bits for a string of 4096."""

_MOST_FRAMES: Final = 100_000
_IMAGE: Final = 0x2C
_EXTENSION: Final = 0x21
_TRAILER: Final = 0x3B
_CONTROL: Final = 0xF9


@dataclass(frozen=True, slots=True)
class Frame:
    """The first frame: where it lies on the canvas, in pixels, and a GIF of it alone."""

    left: int
    top: int
    picture: bytes


def head(content: bytes) -> Head:
    """What the blocks say before any pixel is unpacked.

    Raises:
        UnusablePicture: no GIF that could be decoded, or one whose end is missing.
    """
    if len(content) < 13:
        raise incomplete("GIF")
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    opening = at = 13 + _table(flags)
    frames, control, first, fault = 0, (at, at), None, None
    while True:
        kind = _byte(content, at)
        if kind == _TRAILER:
            break
        if kind == _EXTENSION:
            end = _data(content, at + 2)[0]
            if _byte(content, at + 1) == _CONTROL and not frames:
                control = at, end
            at = end
        elif kind == _IMAGE:
            frames += 1
            if frames > _MOST_FRAMES:
                raise too_large(f"the GIF image has more than {_MOST_FRAMES} frames")
            start = at
            at, packed = _data(content, at + 10 + _table(_byte(content, at + 9)) + 1)
            if frames == 1:
                left, top, columns, rows = struct.unpack_from("<HHHH", content, start + 1)
                refuse_empty(columns, rows)
                if columns * rows > MOST_UNPACKED * packed:
                    fault = short("GIF", columns, rows)
                width, height = max(width, left + columns), max(height, top + rows)
                # The frame as a picture of its own: what is around it is nobody's colour.
                own = content[:6] + struct.pack("<HH", columns, rows) + content[10:opening] + content[slice(*control)]
                own += bytes([_IMAGE]) + struct.pack("<HHHH", 0, 0, columns, rows) + content[start + 9 : at]
                first = Frame(left, top, own + bytes([_TRAILER]))
        else:
            raise damaged("GIF", "a block of an unknown kind")
    if first is None:
        raise damaged("GIF", "it has no frame")
    return Head("GIF", width, height, frames, facts=first, fault=fault)


def clean(content: bytes, seen: Head) -> bytes:
    """The first frame with its palette and transparency, as a GIF that is no larger."""
    frame: Frame = seen.facts
    return frame.picture


def _table(flags: int) -> int:
    """Bytes of a palette."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _byte(content: bytes, at: int) -> int:
    if at >= len(content):
        raise incomplete("GIF")
    return content[at]


def _data(content: bytes, at: int) -> tuple[int, int]:
    """Where a chain of sub-blocks ends, and how many bytes it holds."""
    held = 0
    while size := _byte(content, at):
        held += size
        at += size + 1
    return at + 1, held
