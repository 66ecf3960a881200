"""TIFF: the first page's entries, all within the file; what Pillow then gets is that page without its metadata.

Pillow copies all that the entries point to, and follows further directories; entries may point to the same megabytes a
thousand times.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from simplejpeg import decode_jpeg, decode_jpeg_header

from sppruner_vllm.errors import UnusablePicture

from . import orientation
from .head import Head, damaged, incomplete, refuse_empty, short, too_large, unusable

_ORDERS: Final = {b"II": "<", b"MM": ">"}
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_MOST_ENTRIES: Final = 1024
_MOST_PAGES: Final = 100_000

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, SAMPLE_FORMAT = 274, 277, 284, 339
PREDICTOR, INKS, EXTRA_SAMPLES, JPEG_TABLES = 317, 332, 338, 347
STRIP_OFFSETS, STRIP_BYTES, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = (
    273, 279, 278, 322, 323, 324, 325,
)  # fmt: skip
_KEPT: Final = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT}
    | {STRIP_OFFSETS, STRIP_BYTES, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES}
    | {PREDICTOR, INKS, EXTRA_SAMPLES, 266, 292, 293, 320, JPEG_TABLES, 529, 530, 531, 532}
    | set(range(512, 522))
)
_MOST_SAMPLES: Final = 16
_MOST_PIECES: Final = 2**20
_USUAL_TILE: Final = 2**22
_UNPACKED: Final = 1
_OLD_JPEG: Final = 6
_JPEG: Final = 7
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_CHUNKY: Final = 1
_SIGNED: Final = 2
_INKED: Final = 5
_YCBCR: Final = 6
_COLOURS: Final = {0: 1, 1: 1, 2: 3, 3: 1, _INKED: 4, _YCBCR: 3}
"""Samples that a pixel's colour takes, by what the levels mean."""
_PREDICTED: Final = frozenset({5, 8, 32946})
"""Packings (LZW, Deflate) that may hold differences in place of levels."""


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A strip or tile that is a JPEG, with the tables that all of them share. width, height: that it has to have."""

    start: int
    length: int
    width: int
    height: int
    tables: bytes

    def check(self, content: bytes) -> None:
        """Decode it once: libtiff fills what it lacks, and tells nobody.

        Raises:
            UnusablePicture: it is smaller than its place, or damaged.
        """
        own = content[self.start : self.start + self.length]
        whole = self.tables.removesuffix(_JPEG_END) + own.removeprefix(_JPEG_START) if self.tables else own
        try:
            height, width, colours, _ = decode_jpeg_header(whole)
            decode_jpeg(whole, colorspace="GRAY" if colours == "Gray" else "CMYK" if "K" in colours else "RGB")
        except ValueError as error:
            raise damaged("TIFF", "a JPEG in it ends early or cannot be decoded") from error
        if width != self.width or height < self.height:
            raise damaged("TIFF", "a JPEG in it has another size than its place")


@dataclass(frozen=True, slots=True)
class Facts:
    """bits, format: of every sample. white_is_zero: the levels stand the other way round.

    jpegs: strips or tiles that are JPEG.
    """

    order: str
    big: bool
    entries: tuple[bytes, ...]
    bits: int
    format: int
    white_is_zero: bool
    jpegs: tuple[Jpeg, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Classic TIFF or BigTIFF."""

    order: str
    big: bool

    def number(self, content: bytes, at: int) -> int:
        size = 8 if self.big else 4
        if at + size > len(content):
            raise incomplete("TIFF")
        (value,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), content, at)
        return int(value)

    def entries(self, content: bytes, at: int) -> list[bytes]:
        """The entries of a directory, as they stand."""
        counted, size = (8, 20) if self.big else (2, 12)
        if not at or at + counted > len(content):
            raise incomplete("TIFF")
        (count,) = struct.unpack_from(self.order + ("Q" if self.big else "H"), content, at)
        if count > _MOST_ENTRIES:
            raise too_large(f"the TIFF image has {count} entries in a directory; there may be {_MOST_ENTRIES}")
        start, end = at + counted, at + counted + size * count
        if end > len(content):
            raise incomplete("TIFF")
        return [content[place : place + size] for place in range(start, end, size)]

    def following(self, content: bytes, at: int) -> int:
        """Where the directory after one begins; 0 for none."""
        counted, size = (8, 20) if self.big else (2, 12)
        if at + counted > len(content):
            raise incomplete("TIFF")
        (count,) = struct.unpack_from(self.order + ("Q" if self.big else "H"), content, at)
        return self.number(content, at + counted + size * count)

    def values(self, content: bytes, entry: bytes, most: int) -> tuple[int, ...]:
        """The first integers of an entry."""
        _, kind, count = self.told(entry)
        if kind not in _INTEGERS:
            return ()
        room = 8 if self.big else 4
        shape = f"{self.order}{min(count, most)}{_INTEGERS[kind]}"
        if not self.held(entry):
            return struct.unpack_from(shape, entry, len(entry) - room)
        start = self.number(entry, len(entry) - room)
        if start + struct.calcsize(shape) > len(content):
            raise incomplete("TIFF")
        return struct.unpack_from(shape, content, start)

    def told(self, entry: bytes) -> tuple[int, int, int]:
        """Tag, type and count of an entry."""
        tag, kind, count = struct.unpack_from(self.order + ("HHQ" if self.big else "HHI"), entry)
        return tag, kind, count

    def held(self, entry: bytes) -> int:
        """Bytes that an entry points to."""
        _, kind, count = self.told(entry)
        size = _SIZES.get(kind, 0) * count
        return 0 if size <= (8 if self.big else 4) else size


@dataclass(frozen=True, slots=True)
class _Page:
    """A directory by tag."""

    content: bytes
    layout: _Layout
    entries: dict[int, bytes]

    def several(self, tag: int, most: int = 16) -> tuple[int, ...]:
        return self.layout.values(self.content, self.entries[tag], most) if tag in self.entries else ()

    def bytes(self, tag: int) -> bytes:
        """What an entry of undefined type holds, where that is more than its own place; empty where there is none."""
        if tag not in self.entries or not (held := self.layout.held(self.entries[tag])):
            return b""
        entry = self.entries[tag]
        start = self.layout.number(entry, len(entry) - (8 if self.layout.big else 4))
        return self.content[start : start + held]

    def one(self, tag: int, default: int = 0) -> int:
        return (self.several(tag, 1) or (default,))[0]


def head(content: bytes) -> Head:
    """What the first page's entries say before any strip is decoded.

    Raises:
        UnusablePicture: no TIFF that could be decoded, or one that points outside itself.
    """
    if len(content) < 16:
        raise incomplete("TIFF")
    order = _ORDERS[content[:2]]
    layout = _Layout(order, struct.unpack_from(order + "H", content, 2)[0] == 43)
    first = layout.number(content, 8 if layout.big else 4)
    entries = layout.entries(content, first)
    if sum(layout.held(entry) for entry in entries) > len(content):
        raise damaged("TIFF", "its entries point to more than it has")
    page = _Page(content, layout, {layout.told(entry)[0]: entry for entry in entries})
    width, height = page.one(WIDTH), page.one(HEIGHT)
    refuse_empty(width, height)
    bits, formats = page.several(BITS) or (1,), page.several(SAMPLE_FORMAT) or (1,)
    samples = page.one(SAMPLES, 1)
    if not 0 < samples <= _MOST_SAMPLES or len(set(bits)) > 1 or len(set(formats)) > 1:
        raise unusable("the TIFF image has samples of several kinds, or too many of them, which is not decoded")
    if formats[0] == _SIGNED:
        raise unusable("the TIFF image has signed levels, whose range is not known")
    if bits[0] > 8 and samples > 1 and page.one(PLANAR, _CHUNKY) != _CHUNKY:
        raise unusable("the TIFF image has deep samples in planes of their own, which is not decoded")
    _refuse_unsaid(page, samples)
    fault = _refuse_pieces(page, width, height, samples * bits[0])
    facts = Facts(
        order,
        layout.big,
        tuple(entry for tag, entry in page.entries.items() if tag in _KEPT),
        bits[0],
        formats[0],
        white_is_zero=page.one(PHOTOMETRIC) == 0,
        jpegs=tuple(_jpegs(page, width, height)),
    )
    turned = orientation.known(page.one(ORIENTATION, orientation.UPRIGHT))
    return Head("TIFF", width, height, _pages(content, layout, layout.following(content, first)), turned, facts, fault)


def clean(content: bytes, seen: Head) -> bytes:
    """The file with a directory of its own for the first page, of only what decoding needs."""
    facts: Facts = seen.facts
    for piece in facts.jpegs:
        piece.check(content)
    start = len(content) + len(content) % 2
    opening = (
        content[:8] + struct.pack(facts.order + "Q", start)
        if facts.big
        else content[:4] + struct.pack(facts.order + "I", start)
    )
    count = struct.pack(facts.order + ("Q" if facts.big else "H"), len(facts.entries))
    return b"".join(
        [
            opening,
            content[len(opening) :],
            b"\0" * (start - len(content)),
            count,
            *facts.entries,
            b"\0" * (8 if facts.big else 4),
        ]
    )


def _refuse_unsaid(page: _Page, samples: int) -> None:
    """Refuse a page that leaves open what its samples are: decoders guess, each in its own way."""
    if PHOTOMETRIC not in page.entries:
        raise unusable("the TIFF image does not say what its levels mean (PhotometricInterpretation)")
    means = page.one(PHOTOMETRIC)
    if len(page.several(EXTRA_SAMPLES)) < samples - _COLOURS.get(means, samples):
        raise unusable("the TIFF image does not say what its further samples are (ExtraSamples)")
    if means == _INKED and page.one(INKS, 1) != 1:
        raise unusable("the TIFF image is of other inks than cyan, magenta, yellow and black")
    if page.one(PREDICTOR, 1) != 1 and page.one(COMPRESSION, _UNPACKED) not in _PREDICTED:
        raise unusable("the TIFF image has a predictor, and a packing that has none")
    if page.one(COMPRESSION, _UNPACKED) == _OLD_JPEG:
        raise unusable("the TIFF image holds JPEG in the old way, which is not decoded")
    if samples == 2 and page.one(PLANAR, _CHUNKY) != _CHUNKY:
        raise unusable("the TIFF image has grey levels and their transparency in planes, which is not decoded")


def _refuse_pieces(page: _Page, width: int, height: int, bits: int) -> UnusablePicture | None:
    """Refuse strips and tiles that are not there, or that would take far more room than the picture.

    Returns:
        What is wrong if they hold less than the picture.
    """
    across, down = page.one(TILE_WIDTH), page.one(TILE_LENGTH)
    tiles = -(-width // across) * -(-height // down) if across and down else 0
    if across * down * tiles > max(_USUAL_TILE, 4 * width * height):
        raise damaged("TIFF", f"its tiles are {across} x {down} pixels")
    tiled = TILE_OFFSETS in page.entries
    offsets = page.several(TILE_OFFSETS if tiled else STRIP_OFFSETS, _MOST_PIECES)
    sizes = page.several(TILE_BYTES if tiled else STRIP_BYTES, _MOST_PIECES)
    if not offsets:
        raise damaged("TIFF", "it has no pixels")
    if any(start + size > len(page.content) for start, size in zip(offsets, sizes, strict=False)):
        raise incomplete("TIFF")
    unpacked = page.one(COMPRESSION, _UNPACKED) == _UNPACKED and page.one(PHOTOMETRIC) != _YCBCR
    lacks = sizes and unpacked and 8 * sum(sizes) < width * height * bits
    return short("TIFF", width, height) if lacks else None


def _jpegs(page: _Page, width: int, height: int) -> Iterator[Jpeg]:
    """The strips or tiles of a page, where they are JPEG."""
    if page.one(COMPRESSION, _UNPACKED) != _JPEG:
        return
    tables = page.bytes(JPEG_TABLES)
    tiled = TILE_OFFSETS in page.entries
    offsets = page.several(TILE_OFFSETS if tiled else STRIP_OFFSETS, _MOST_PIECES)
    sizes = page.several(TILE_BYTES if tiled else STRIP_BYTES, _MOST_PIECES)
    across, down = page.one(TILE_WIDTH), page.one(TILE_LENGTH)
    rows = max(1, page.one(ROWS_PER_STRIP, height))
    strips = -(-height // rows)
    for number, (start, size) in enumerate(zip(offsets, sizes, strict=False)):
        if tiled:
            yield Jpeg(start, size, across, down, tables)
        else:
            yield Jpeg(start, size, width, min(rows, height - number % strips * rows), tables)


def _pages(content: bytes, layout: _Layout, following: int) -> int:
    """Pages, without looking at any but the first."""
    pages, seen = 1, set()
    while following:
        if following in seen:
            raise damaged("TIFF", "its pages go in a circle")
        if pages >= _MOST_PAGES:
            raise too_large(f"the TIFF image has more than {_MOST_PAGES} pages")
        seen.add(following)
        pages += 1
        following = layout.following(content, following)
    return pages
