"""TIFF files, by tifffile or entry by entry: their levels come in more kinds than any other format's."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
import tifffile
from PIL import Image

from corpus.case import HEIGHT, WIDTH, Case, grey, invalid, noise, over_white, right, saved, smooth, too_large, turned
from corpus.jpegs import decoded


def tiff(levels: np.ndarray, **options: object) -> bytes:
    """A TIFF of (H, W) or (H, W, samples) levels."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, levels, **options)
    return buffer.getvalue()


def tiffs() -> Iterator[Case]:
    """TIFF, whose levels come in more kinds than any other's."""
    deep, floats = noise(HEIGHT, WIDTH, top=65536), np.random.default_rng(0).random((HEIGHT, WIDTH), dtype=np.float32)
    levels = np.rint(deep / 257)
    for name, order in {"little": "<", "big": ">"}.items():
        content = tiff(deep.astype(order + "u2"), byteorder=order, photometric="minisblack")
        yield right(f"tiff grey 16 {name}-endian", content, grey(levels))
        yield right(f"tiff floats {name}-endian", tiff(floats, byteorder=order), grey(np.floor(floats * 255 + 0.5)))
        yield invalid(f"tiff floats beyond 1 {name}-endian", tiff(floats * 200, byteorder=order))
        yield invalid(f"tiff signed 16 {name}-endian", tiff((deep // 2).astype("i2"), byteorder=order), from_head=True)
        yield invalid(f"tiff unsigned 32 {name}-endian", tiff(deep.astype("u4"), byteorder=order))
    unknown = np.where(floats > 0.9, np.nan, floats)
    yield invalid("tiff floats not a number", tiff(unknown.astype(np.float32)))
    yield invalid("tiff doubles", tiff(floats.astype(np.float64)))
    yield invalid("tiff signed 8", tiff((deep // 512).astype("i1")), from_head=True)
    white = tiff(deep.astype("u2"), photometric="miniswhite")
    yield right("tiff grey 16 white is zero", white, grey(255 - levels), 1)
    yield right("tiff grey 16 packed", tiff(deep.astype("u2"), compression="zlib", predictor=True), grey(levels))
    plain, colours = noise(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, 3)
    yield right("tiff grey 8 white is zero", tiff(plain.astype("u1"), photometric="miniswhite"), grey(255 - plain))
    stored = colours.astype("u1")
    yield right("tiff colour", tiff(stored, photometric="rgb"), colours)
    yield right("tiff colour tiles", tiff(stored, photometric="rgb", tile=(16, 32)), colours)
    yield right("tiff colour big", tiff(stored, photometric="rgb", bigtiff=True), colours)
    planes = np.moveaxis(stored, 2, 0)
    yield right("tiff colour planes", tiff(planes, photometric="rgb", planarconfig="separate"), colours)
    content = tiff(planes.astype("u2") * 257, photometric="rgb", planarconfig="separate")
    yield invalid("tiff colour planes 16", content, from_head=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield right(f"tiff {compression}", saved(Image.fromarray(stored), "TIFF", compression=compression), colours)
    bits = noise(HEIGHT, WIDTH, top=2)
    fax = saved(Image.fromarray((bits * 255).astype("u1")).convert("1"), "TIFF", compression="group4")
    yield right("tiff fax", fax, grey(bits * 255))
    wide = noise(HEIGHT, WIDTH, 3, top=65536)
    yield right("tiff colour 16", tiff(wide.astype("u2"), photometric="rgb"), np.rint(wide / 257), 1)
    clear, alpha = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, seed=3)
    stored = np.dstack([clear, alpha]).astype("u1")
    seen = over_white(clear, alpha / 255)
    yield right("tiff alpha", tiff(stored, photometric="rgb", extrasamples=["unassalpha"]), seen, 1)
    stored = np.dstack([np.rint(clear * (alpha / 255)[..., None]), alpha]).astype("u1")
    yield right("tiff alpha multiplied in", tiff(stored, photometric="rgb", extrasamples=["assocalpha"]), seen, 2)
    ink = noise(HEIGHT, WIDTH, 4)
    seen = np.rint((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255)
    yield right("tiff cmyk", tiff(ink.astype("u1"), photometric="separated"), seen, 2)
    yield invalid("tiff lab", tiff(colours.astype("u1"), photometric="cielab"))
    yield from rare_tiffs()
    yield from unsaid()
    picture = smooth()
    pages = saved(picture, "TIFF", save_all=True, append_images=[smooth(1), smooth(2)])
    yield right("tiff pages", pages, np.asarray(picture))
    exif = Image.Exif()
    for orientation in (2, 6, 8):
        exif[0x0112] = orientation
        content = saved(picture, "TIFF", exif=exif)
        yield right(f"tiff orientation {orientation}", content, turned(np.asarray(picture), orientation))
    content = tiff(colours.astype("u1"), photometric="rgb")
    yield invalid("tiff cut", content[:-100], from_head=True)
    yield invalid("tiff packed and cut", saved(picture, "TIFF", compression="tiff_lzw")[:-400])
    yield invalid("tiff pages in a circle", _directory([], following=8), from_head=True)
    yield too_large("tiff 60000 x 60000", _directory([(256, 60_000), (257, 60_000)]))
    yield too_large("tiff directory of 60000 entries", _directory([(60_000, 0)] * 60_000))
    yield invalid("tiff entries that copy the file", _directory([(60_000, 8)] * 900, count=100_000), from_head=True)


def unsaid() -> Iterator[Case]:
    """What decoders guess at, each in its own way."""
    plain = noise(HEIGHT, WIDTH).astype("u1")
    entries = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 277: 1, 278: HEIGHT}
    yield invalid("tiff that does not say what its levels mean", _page(entries, plain), from_head=True)
    two = np.dstack([plain, plain])
    yield invalid("tiff grey and a sample unsaid", _page({**entries, 262: 1, 277: 2}, two), from_head=True)
    four = np.dstack([two, two])
    yield invalid("tiff colour and a sample unsaid", _page({**entries, 262: 2, 277: 4}, four), from_head=True)
    yield invalid("tiff other inks", _page({**entries, 262: 5, 277: 4, 332: 2}, four), from_head=True)
    yield invalid("tiff differences unpacked", _page({**entries, 262: 1, 317: 2}, plain), from_head=True)
    planes = {"photometric": "minisblack", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    packed = tiff(np.moveaxis(two, 2, 0), compression="zlib", **planes)
    yield invalid("tiff grey alpha planes packed", packed, from_head=True)


def _page(entries: dict[int, int], levels: np.ndarray) -> bytes:
    """A TIFF of one strip with such entries."""
    data = levels.tobytes()
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    every = sorted({**entries, 273: start, 279: len(data)}.items())
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in every)
    return b"II*\0" + struct.pack("<IH", 8, len(every)) + packed + bytes(4) + data


def _directory(entries: list[tuple[int, int]], count: int = 1, following: int = 0) -> bytes:
    """A small sound TIFF but for entries that are added or replaced, and what comes after its first directory."""
    sound = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 8, 279: 64}
    kept = [(tag, value) for tag, value in sound.items() if tag not in dict(entries)]
    packed = b"".join(
        struct.pack("<HHII", tag, 4, 1 if tag in sound else count, value) for tag, value in [*kept, *entries]
    )
    opening = b"II*\0" + struct.pack("<IH", 8, len(kept) + len(entries))
    return opening + packed + struct.pack("<I", following) + bytes(64)


def rare_tiffs() -> Iterator[Case]:
    """Depths and colours that are seldom written."""
    for depth in (2, 4, 12):
        levels, top = noise(HEIGHT, WIDTH, top=2**depth), 2**depth - 1
        bits = np.unpackbits(levels.astype(">u2").view("u1").reshape(HEIGHT, WIDTH, 2), axis=2)[..., 16 - depth :]
        data = b"".join(np.packbits(row).tobytes() for row in bits.reshape(HEIGHT, -1))
        truth = np.rint(levels * 255 / top)
        yield right(f"tiff grey {depth}", _strip(data, depth, photometric=1), grey(truth), 1)
        if depth < 12:
            yield right(f"tiff grey {depth} white is zero", _strip(data, depth, photometric=0), grey(255 - truth), 1)
    table = noise(3, 256, top=65536)
    places = noise(HEIGHT, WIDTH)
    palette = tiff(places.astype("u1"), photometric="palette", colormap=table.astype("u2"))
    yield right("tiff palette", palette, np.rint(table.T[places] / 257), 1)
    picture = smooth()
    brightness = np.asarray(picture.convert("YCbCr"))
    yield right("tiff ycbcr", tiff(brightness, photometric="ycbcr", subsampling=(1, 1)), np.asarray(picture), 6)
    content = saved(picture, "TIFF", compression="jpeg", quality=95)
    yield right("tiff jpeg", content, decoded(content), 4)
    middle = len(content) // 2
    spoilt = content[: middle - 20] + b"\xff\xd9" * 10 + content[middle:]
    yield invalid("tiff jpeg that ends early", spoilt)
    entries = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 7, 262: 1, 277: 1, 278: HEIGHT}
    small = np.frombuffer(saved(smooth(size=(32, 32)).convert("L"), "JPEG"), np.uint8)
    yield invalid("tiff jpeg smaller than its place", _page(entries, small))
    deep = noise(HEIGHT, WIDTH, 4, top=65536)
    seen = over_white(deep[..., :3] / 257, deep[..., 3] / 65535)
    yield right("tiff alpha 16", tiff(deep.astype("u2"), photometric="rgb", extrasamples=["unassalpha"]), seen, 2)


def _strip(data: bytes, bits: int, photometric: int) -> bytes:
    """A TIFF of one sample in one strip."""
    entries = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: photometric, 277: 1, 278: HEIGHT}
    return _page(entries, np.frombuffer(data, np.uint8))
