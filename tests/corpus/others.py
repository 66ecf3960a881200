"""The other formats: TIFF by tifffile, the rest written byte by byte or losslessly by Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import cv2
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


def _directory(entries: list[tuple[int, int]], count: int = 1, following: int = 0) -> bytes:
    """A small sound TIFF but for entries that are added or replaced, and what comes after its first directory."""
    sound = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 8, 279: 64}
    kept = [(tag, value) for tag, value in sound.items() if tag not in dict(entries)]
    packed = b"".join(
        struct.pack("<HHII", tag, 4, 1 if tag in sound else count, value) for tag, value in [*kept, *entries]
    )
    opening = b"II*\0" + struct.pack("<IH", 8, len(kept) + len(entries))
    return opening + packed + struct.pack("<I", following) + bytes(64)


def gifs() -> Iterator[Case]:
    """GIF, of which the first frame is the picture."""
    places = smooth().quantize(16)
    truth = np.asarray(places.convert("RGB"))
    moving = saved(places, "GIF", save_all=True, append_images=[places.rotate(180)], loop=0)
    yield right("gif animation", moving, truth)
    yield right("gif interlaced", saved(places, "GIF", interlace=1), truth)
    hidden = np.asarray(places)[..., None] == 3
    yield right("gif transparent", saved(places, "GIF", transparency=3), np.where(hidden, 255, truth))
    plain = saved(places, "GIF")
    at = plain.index(b",", 13 + 3 * 16)
    canvas = plain[:6] + struct.pack("<HH", 112, 84) + plain[10 : at + 1] + struct.pack("<HH", 5, 7) + plain[at + 5 :]
    seen = np.full((84, 112, 3), 255)
    seen[7 : 7 + HEIGHT, 5 : 5 + WIDTH] = truth
    yield right("gif frame smaller than its canvas", canvas, seen)
    yield invalid("gif cut", plain[: len(plain) // 2], from_head=True)
    yield invalid("gif cut in its second frame", moving[:-200], from_head=True)
    yield invalid("gif without its end", plain[:-1], from_head=True)
    yield invalid("gif no frame", plain[: 13 + 3 * 16] + b";", from_head=True)
    short = plain[:at] + plain[at : at + 10] + b"\4\2\x10\xff\0;"
    yield invalid("gif pixels missing", short)
    yield too_large("gif 60000 x 60000", plain[:6] + struct.pack("<HH", 60_000, 60_000) + plain[10:])
    frame = plain[at : plain.rindex(b";")]
    tiny = frame[:1] + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    yield too_large("gif 5000 frames", plain[:at] + tiny * 5000 + b";")


def webps() -> Iterator[Case]:
    """WebP."""
    picture = smooth()
    lossy, lossless = saved(picture, "WEBP"), saved(picture, "WEBP", lossless=True)
    yield right("webp", lossy, decoded(lossy), 2)
    yield right("webp lossless", lossless, np.asarray(picture))
    clear, alpha = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH, seed=3)
    image = Image.fromarray(np.dstack([clear, alpha]).astype("u1"))
    content = saved(image, "WEBP", lossless=True, exact=True)
    yield right("webp alpha", content, over_white(clear, alpha / 255), 1)
    moving = saved(picture, "WEBP", save_all=True, append_images=[smooth(1)], lossless=True)
    yield right("webp animation", moving, np.asarray(picture))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(picture, "WEBP", lossless=True, exif=exif)
    yield right("webp exif 6", content, turned(np.asarray(picture), 6))
    yield invalid("webp cut", lossy[: len(lossy) // 2], from_head=True)
    body = lossless[12 : len(lossless) // 2]
    length = struct.pack("<I", len(body) - 8)
    patched = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body[:4] + length + body[8:]
    yield invalid("webp cut under right lengths", patched)
    grown = moving.replace(moving[20:30], moving[20:24] + b"\xff\xff\xff\xff\xff\xff", 1)
    yield too_large("webp canvas of 16 million x 16 million", grown)


def avifs() -> Iterator[Case]:
    """AVIF, as OpenCV's decoder has it where it knows the format."""
    content = saved(smooth(), "AVIF", quality=95)
    yield right("avif", content, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], 3)
    yield invalid("avif cut", content[:-20], from_head=True)
    at = content.index(b"ispe") + 8
    yield too_large("avif 60000 x 60000", content[:at] + struct.pack(">II", 60_000, 60_000) + content[at + 8 :])
    at = content.index(b"nclx") + 6
    yield invalid("avif high dynamic range", content[:at] + b"\0\x10" + content[at + 2 :], from_head=True)


def plain() -> Iterator[Case]:
    """Formats with little between head and pixels."""
    picture = smooth()
    truth = np.asarray(picture)
    bitmap = saved(picture, "BMP")
    yield right("bmp", bitmap, truth)
    yield right("bmp palette", saved(picture.quantize(16), "BMP"), np.asarray(picture.quantize(16).convert("RGB")))
    yield invalid("bmp cut", bitmap[:-10])
    yield too_large("bmp 60000 x 60000", bitmap[:18] + struct.pack("<ii", 60_000, 60_000) + bitmap[26:])
    size = f"{WIDTH} {HEIGHT}".encode()
    deep, few = noise(HEIGHT, WIDTH, top=65536), noise(HEIGHT, WIDTH, top=1001)
    yield right("pgm 16", b"P5 " + size + b" 65535\n" + deep.astype(">u2").tobytes(), grey(np.rint(deep / 257)))
    odd = b"P5 " + size + b" 1000\n" + few.astype(">u2").tobytes()
    yield right("pgm of 1000", odd, grey(np.rint(few / 1000 * 255)), 1)
    yield right("ppm", b"P6 " + size + b" 255\n" + truth.tobytes(), truth)
    yield right("ppm plain", b"P3 " + size + b" 255\n" + " ".join(map(str, truth.ravel())).encode(), truth)
    yield invalid("ppm cut", b"P6 " + size + b" 255\n" + truth.tobytes()[:-1])
    yield too_large("ppm 60000 x 60000", b"P6 60000 60000 255\n" + bytes(100))
    floats = np.random.default_rng(0).random((HEIGHT, WIDTH), dtype=np.float32)
    pfm = b"Pf\n" + size + b"\n-1.0\n" + floats[::-1].astype("<f4").tobytes()
    yield right("pfm", pfm, grey(np.floor(floats * 255 + 0.5)))
    yield right("qoi", saved(picture, "QOI"), truth)
    yield right("jpeg 2000", saved(picture, "JPEG2000"), truth)
    yield invalid("jpeg 2000 cut", saved(picture, "JPEG2000")[:-500])
    yield right("tga", saved(picture, "TGA"), truth)
    icon = smooth(size=(56, 56))
    for kind in ("png", "bmp"):
        content = saved(icon.convert("RGBA"), "ICO", sizes=[(56, 56)], bitmap_format=kind)
        yield right(f"ico of {kind}", content, np.asarray(icon))
        yield invalid(f"ico of {kind} cut", content[: len(content) // 2], from_head=True)
    content = saved(icon, "ICO", sizes=[(56, 56)])
    at = content.index(b"IHDR") + 4
    content = content[:at] + struct.pack(">II", 13_000, 13_000) + content[at + 8 :]
    yield too_large("ico of a png of 13000 x 13000", content)


def no_pictures() -> Iterator[Case]:
    """What is none, whatever it says that it is."""
    for name, content in {
        "nothing": b"",
        "text": b"hello world",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "pdf": b"%PDF-1.4\n",
        "html": b"<!DOCTYPE html><html></html>",
        "zip": b"PK\3\4" + bytes(60),
        "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(24),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(20),
        "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(20),
        "zeros": bytes(1000),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }.items():
        yield invalid(name, content, from_head=True)
