"""What an AV1 picture inside a file says of its own size, which decoders scale to what the file around it says."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

_ITEM: Final = re.compile(rb"infe(?:[\2]...(..)|[\3]...(....))..av01", re.DOTALL)
_LOCATIONS: Final = re.compile(rb"iloc([\0-\2])...", re.DOTALL)
_IN_FILE: Final = 0
_SEQUENCE: Final = 1
"""Kind of the unit that says the size."""
_MOST_UNITS: Final = 8
_LONGEST: Final = 64
"""Bytes of a unit that are looked at: sizes come before."""


def coded_sizes(content: bytes, meta: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of each coded picture of a file, as far as they can be told without decoding.

    Args:
        meta: the box of the file that says where its pictures are.
    """
    pictures = {int.from_bytes(found[1] or found[2]) for found in _ITEM.finditer(meta)}
    for item, start in _starts(meta):
        if item in pictures and (size := _size_at(content, start)) is not None:
            yield size


def _starts(meta: bytes) -> Iterator[tuple[int, int]]:
    """Number of each item, and where in the file its first bytes stand."""
    found = _LOCATIONS.search(meta)
    if found is None:
        return
    version, at = found[1][0], found.end()
    wide, numbers = (4, ">I") if version == 2 else (2, ">H")
    try:
        sizes, base_and_index = meta[at], meta[at + 1]
        of_offset, of_length, of_base = sizes >> 4, sizes & 15, base_and_index >> 4
        of_index = base_and_index & 15 if version else 0
        (count,) = struct.unpack_from(numbers, meta, at + 2)
        at += 2 + wide
        for _ in range(count):
            (item,) = struct.unpack_from(numbers, meta, at)
            at += wide
            how = _IN_FILE
            if version:
                how = meta[at + 1] & 15
                at += 2
            base = int.from_bytes(meta[at + 2 : at + 2 + of_base])
            (extents,) = struct.unpack_from(">H", meta, at + 2 + of_base)
            at += 4 + of_base
            first = base + int.from_bytes(meta[at + of_index : at + of_index + of_offset])
            if extents and how == _IN_FILE:
                yield item, first
            at += extents * (of_index + of_offset + of_length)
    except (IndexError, struct.error):
        return  # the decoder says that it is damaged


def _size_at(content: bytes, at: int) -> tuple[int, int] | None:
    """The size that the first sequence header of a stream says; None where none is found."""
    for _ in range(_MOST_UNITS):
        head = content[at : at + 1]
        if not head:
            return None
        at += 2 if head[0] & 4 else 1
        length, at = _length(content, at) if head[0] & 2 else (_LONGEST, at)
        if head[0] >> 3 & 15 == _SEQUENCE:
            return _size_in(content[at : at + min(length, _LONGEST)])
        at += length
    return None


def _length(content: bytes, at: int) -> tuple[int, int]:
    """A length in groups of seven bits, and where what has it begins."""
    length = 0
    for place, byte in enumerate(content[at : at + 8]):
        length |= (byte & 127) << (7 * place)
        if byte < 128:
            return length, at + place + 1
    return length, at + 8


def _size_in(unit: bytes) -> tuple[int, int] | None:
    """AV1's specification, 5.5.1; None where clocks of a film stand before the size, or it is cut off."""
    bits, at = int.from_bytes(unit), 8 * len(unit)

    def take(count: int) -> int:
        nonlocal at
        at -= count
        if at < 0:
            raise EOFError
        return bits >> at & ((1 << count) - 1)

    try:
        take(4)
        if take(1):  # a still picture's short form
            take(5)
        else:
            if take(1):
                return None
            delays = take(1)
            for _ in range(take(5) + 1):
                take(12)
                if take(5) > 7:
                    take(1)
                if delays and take(1):
                    take(4)
        of_width, of_height = take(4) + 1, take(4) + 1
        return take(of_width) + 1, take(of_height) + 1
    except EOFError:
        return None
