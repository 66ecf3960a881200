"""PNG files written byte by byte, so that what they mean is known without a decoder."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from corpus.case import HEIGHT, WIDTH, Case, grey, invalid, noise, over_white, right, saved, smooth, too_large, turned

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, colour: int = COLOUR, interlace: int = 0) -> bytes:
    """Signature and IHDR."""
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def rows(levels: np.ndarray, depth: int) -> bytes:
    """Unfiltered rows of (H, W) or (H, W, channels) levels."""
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    if depth == 8:
        return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in levels)
    bits = np.unpackbits(levels.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :].reshape(len(levels), -1)
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)


def png(levels: np.ndarray, depth: int, colour: int, *before: bytes) -> bytes:
    """A whole file; `before` are chunks between the header and the pixels."""
    start = header(levels.shape[1], levels.shape[0], depth, colour) + b"".join(before)
    return start + chunk(b"IDAT", zlib.compress(rows(levels, depth))) + chunk(b"IEND", b"")


def _whole() -> tuple[bytes, bytes, bytes]:
    """A file of 8-bit colours in three parts: before the pixels, the packed pixels, after them."""
    content = png(noise(HEIGHT, WIDTH, 3), 8, COLOUR)
    start = content.index(b"IDAT") - 4
    length = int.from_bytes(content[start : start + 4])
    return content[:start], content[start + 8 : start + 8 + length], content[start + 12 + length :]


def _scribbled(data: bytes, at: int, count: int = 40) -> bytes:
    return data[:at] + bytes(value ^ 0x5A for value in data[at : at + count]) + data[at + count :]


def sound() -> Iterator[Case]:
    """What is to be taken."""
    for depth in (1, 2, 4, 8):
        levels, step = noise(HEIGHT, WIDTH, top=2**depth), 255 // (2**depth - 1)
        key = chunk(b"tRNS", struct.pack(">H", 1))
        yield right(f"png grey {depth}", png(levels, depth, GREY), grey(levels * step))
        seen = np.where(levels == 1, 255, levels * step)
        yield right(f"png grey {depth} key", png(levels, depth, GREY, key), grey(seen))
    deep = noise(HEIGHT, WIDTH, top=65536)
    key = chunk(b"tRNS", struct.pack(">H", int(deep[0, 0])))
    yield right("png grey 16", png(deep, 16, GREY), grey(np.rint(deep / 257)))
    yield right("png grey 16 dark", png(deep // 256, 16, GREY), grey(np.rint(deep // 256 / 257)))
    yield right(
        "png grey 16 key", png(deep, 16, GREY, key), grey(np.where(deep == deep[0, 0], 255, np.rint(deep / 257)))
    )
    colours = noise(HEIGHT, WIDTH, 3)
    key = chunk(b"tRNS", struct.pack(">HHH", *map(int, colours[0, 0])))
    hidden = (colours == colours[0, 0]).all(axis=2, keepdims=True)
    yield right("png colour 8", png(colours, 8, COLOUR), colours)
    yield right("png colour 8 key", png(colours, 8, COLOUR, key), np.where(hidden, 255, colours))
    deep = noise(HEIGHT, WIDTH, 4, top=65536)
    yield right("png colour 16", png(deep[..., :3], 16, COLOUR), np.rint(deep[..., :3] / 257), 1)
    seen = over_white(deep[..., :3] / 257, deep[..., 3] / 65535)
    yield right("png colour alpha 16", png(deep, 16, COLOUR_ALPHA), seen, 2)
    seen = over_white(grey(deep[..., 0] / 257), deep[..., 1] / 65535)
    yield right("png grey alpha 16", png(deep[..., :2], 16, GREY_ALPHA), seen, 2)
    plain = noise(HEIGHT, WIDTH, 4)
    yield right("png colour alpha 8", png(plain, 8, COLOUR_ALPHA), over_white(plain[..., :3], plain[..., 3] / 255), 1)
    seen = over_white(grey(plain[..., 0]), plain[..., 1] / 255)
    yield right("png grey alpha 8", png(plain[..., :2], 8, GREY_ALPHA), seen, 1)
    for depth in (1, 2, 4, 8):
        colours, places = noise(2**depth, 3, seed=1), noise(HEIGHT, WIDTH, top=2**depth)
        palette = chunk(b"PLTE", colours.astype(np.uint8).tobytes())
        yield right(f"png palette {depth}", png(places, depth, PALETTE, palette), colours[places])
        alphas = noise(2**depth, seed=2)
        key = chunk(b"tRNS", alphas.astype(np.uint8).tobytes())
        seen = over_white(colours[places], alphas[places] / 255)
        yield right(f"png palette {depth} alpha", png(places, depth, PALETTE, palette, key), seen, 1)
    yield from interlaced()
    picture = smooth()
    truth = np.asarray(picture)
    yield right("png animation", saved(picture, "PNG", save_all=True, append_images=[smooth(1)]), truth)
    yield right("png and a zip behind it", saved(picture, "PNG") + b"PK\3\4" + bytes(100), truth)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))
    yield right("png text that unpacks to 16 MiB", png(truth, 8, COLOUR, *[text] * 8), truth)
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        yield right(f"png exif {orientation}", saved(picture, "PNG", exif=exif), turned(truth, orientation))


def interlaced() -> Iterator[Case]:
    """Pixels in seven passes."""
    deep, colours, bits = noise(HEIGHT, WIDTH, top=65536), noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, top=2)
    yield right("png interlaced grey 16", _interlaced(deep, 16, GREY), grey(np.rint(deep / 257)))
    yield right("png interlaced grey 1", _interlaced(bits, 1, GREY), grey(bits * 255))
    yield right("png interlaced colour 8", _interlaced(colours, 8, COLOUR), colours)


def _interlaced(levels: np.ndarray, depth: int, colour: int) -> bytes:
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    data = b"".join(rows(levels[top::down, left::across], depth) for left, top, across, down in passes)
    start = header(levels.shape[1], levels.shape[0], depth, colour, interlace=1)
    return start + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def damaged() -> Iterator[Case]:
    """What is to be refused."""
    before, pixels, after = _whole()
    whole = before + chunk(b"IDAT", pixels) + after
    place = len(before) + 8 + len(pixels) // 2
    yield invalid("png 40 bytes of pixels damaged", _scribbled(whole, place))
    yield invalid(
        "png 40 bytes damaged under a right checksum",
        before + chunk(b"IDAT", _scribbled(pixels, len(pixels) // 2)) + after,
    )
    yield invalid("png wrong checksum of the pixels", whole[: -len(after) - 4] + b"abcd" + after)
    yield invalid("png wrong checksum of the header", _scribbled(whole, 29, 4))
    unpacked = zlib.decompress(pixels)
    wrong_sum = zlib.compress(unpacked)[:-4] + b"abcd"
    yield invalid("png wrong sum inside the packed pixels", before + chunk(b"IDAT", wrong_sum) + after)
    yield invalid("png one row missing", before + chunk(b"IDAT", zlib.compress(unpacked[: -3 * WIDTH - 1])) + after)
    longer = zlib.compress(unpacked + bytes(3 * WIDTH + 1))
    yield invalid("png one row too many", before + chunk(b"IDAT", longer) + after)
    strange = b"\7" + unpacked[1:]
    yield invalid("png unknown filter", before + chunk(b"IDAT", zlib.compress(strange)) + after)
    yield invalid("png cut", whole[: len(whole) // 2], from_head=True)
    yield invalid("png without its end", whole[:-12], from_head=True)
    yield invalid("png header alone", before, from_head=True)
    few = chunk(b"PLTE", bytes(3 * 4))
    yield invalid("png colours beyond the palette", png(noise(HEIGHT, WIDTH, top=16), 8, PALETTE, few))
    yield invalid("png palette missing", png(noise(HEIGHT, WIDTH, top=16), 8, PALETTE))
    yield invalid("png no such depth", header(8, 8, 3, COLOUR) + chunk(b"IDAT", b"") + after, from_head=True)
    yield invalid("png no width", header(0, 8) + chunk(b"IDAT", zlib.compress(b"")) + after, from_head=True)
    yield invalid("png two rows of 4000", _declared(4000), from_head=True)
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    yield invalid("png colour 16 key", png(noise(HEIGHT, WIDTH, 3, top=65536), 16, COLOUR, key))
    places, table = noise(HEIGHT, WIDTH, top=16), chunk(b"PLTE", bytes(3 * 16))
    for name, chunks in {
        "longer than the palette": (table, chunk(b"tRNS", bytes(17))),
        "before the palette": (chunk(b"tRNS", bytes(16)), table),
    }.items():
        yield invalid(f"png transparency {name}", png(places, 8, PALETTE, *chunks), from_head=True)
    key = chunk(b"tRNS", struct.pack(">H", 256))
    yield invalid("png transparency of a level that there is not", png(places, 8, GREY, key), from_head=True)
    perceptual = chunk(b"cICP", bytes([9, 16, 0, 1]))
    yield invalid("png high dynamic range", png(noise(HEIGHT, WIDTH, 3), 8, COLOUR, perceptual), from_head=True)


def large() -> Iterator[Case]:
    """What is beyond a limit."""
    for side in (10_000, 20_000, 2**31 - 1):
        yield too_large(f"png two rows of {side}", _declared(side))
    blank = chunk(b"IDAT", zlib.compress(bytes(13_000 * (13_000 // 8 + 1)))) + chunk(b"IEND", b"")
    yield too_large("png 13000 x 13000 in 20 KB", header(13_000, 13_000, 1, GREY) + blank)
    yield too_large("png long side", header(20_000, 200, 1, GREY) + blank)
    yield too_large("png strip", saved(Image.new("L", (2010, 10)), "PNG"))
    yield too_large("png many chunks", png(noise(HEIGHT, WIDTH, 3), 8, COLOUR, *[chunk(b"teXt", b"")] * 100_001))
    frames = chunk(b"acTL", struct.pack(">II", 1_000_000, 0))
    yield too_large("png million frames", png(noise(HEIGHT, WIDTH, 3), 8, COLOUR, frames))


def _declared(side: int) -> bytes:
    """A few bytes that declare side x side pixels and hold two rows."""
    return header(side, side, 1, GREY) + chunk(b"IDAT", zlib.compress(bytes(250))) + chunk(b"IEND", b"")
