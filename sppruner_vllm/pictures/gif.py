"""GIF: every block whole to the end of the file; what Pillow then gets is the first frame alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from .head import Head, damaged, incomplete, refuse_empty, short, too_large, unusable

SIGNATURES: Final = (b"GIF87a", b"GIF89a")

MOST_UNPACKED: Final = 2731
"""Pixels that one byte of LZW codes can stand for, at most: a code of twelve bits for a string of 4096."""

_MOST_FRAMES: Final = 100_000
_MOST_BLOCKS: Final = 2**19
"""A file of 32 MiB whose blocks are as long as they can be has a quarter of them."""
_BLOCKS_A_CHAIN: Final = 8
"""That a chain counts for beside its own: so long does it take to look at one."""
_IMAGE: Final = 0x2C
_EXTENSION: Final = 0x21
_TRAILER: Final = 0x3B
_CONTROL: Final = 0xF9
_PALETTE: Final = 0x80


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
    blocks = _Blocks(content)
    frames, control, first, fault = 0, (at, at), None, None
    while True:
        kind = blocks.byte(at)
        if kind == _TRAILER:
            break
        if kind == _EXTENSION:
            end = blocks.chain(at + 2)[0]
            if blocks.byte(at + 1) == _CONTROL and not frames:
                control = at, end
            at = end
        elif kind == _IMAGE:
            frames += 1
            if frames > _MOST_FRAMES:
                raise too_large(f"the GIF image has more than {_MOST_FRAMES} frames")
            start = at
            at, packed = blocks.chain(at + 10 + _table(blocks.byte(at + 9)) + 1)
            if frames == 1:
                left, top, columns, rows = struct.unpack_from("<HHHH", content, start + 1)
                refuse_empty(columns, rows)
                if not (flags | content[start + 9]) & _PALETTE:
                    raise unusable("the GIF image has no palette: its colours are not known")
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


class _Blocks:
    """Reads chains of sub-blocks, as many as a picture may have: they may be of one byte."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = _MOST_BLOCKS

    def byte(self, at: int) -> int:
        if at >= len(self._content):
            raise incomplete("GIF")
        return self._content[at]

    def chain(self, at: int) -> tuple[int, int]:
        """Where a chain ends, and how many bytes it holds."""
        held = 0
        while size := self.byte(at):
            held += size
            at += size + 1
            self._left -= 1
            if self._left < 0:
                raise too_large(f"the GIF image has more than {_MOST_BLOCKS} blocks")
        self._left -= _BLOCKS_A_CHAIN
        return at + 1, held


def _table(flags: int) -> int:
    """Bytes of a palette."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & _PALETTE else 0
