"""JPEG files, their pixels as OpenCV's decoder has them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from corpus.case import HEIGHT, WIDTH, Case, invalid, right, saved, smooth, too_large, turned

END = b"\xff\xd9"


def decoded(content: bytes) -> np.ndarray:
    """The levels as OpenCV has them, not turned."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags)[..., ::-1]


def segment(marker: int, body: bytes) -> bytes:
    """One segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame_head(width: int, height: int) -> bytes:
    """Start of image and a frame of one component, without tables or scans."""
    return b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")


def sound() -> Iterator[Case]:
    """What is to be taken."""
    for name, options in {
        "baseline": {},
        "progressive": {"progressive": True},
        "full chroma": {"subsampling": 0},
        "restarts": {"restart_marker_rows": 1},
        "quality 100": {"quality": 100},
    }.items():
        content = saved(smooth(), "JPEG", **options)
        yield right(f"jpeg {name}", content, decoded(content), 2)
    content = saved(smooth(), "JPEG", keep_rgb=True)
    yield right("jpeg rgb", content, decoded(content), 2)
    content = saved(smooth().convert("L"), "JPEG")
    yield right("jpeg grey", content, decoded(content))
    middle = saved(Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128)), "JPEG")
    yield right("jpeg of the grey that decoders fill up with", middle, np.full((HEIGHT, WIDTH, 3), 128))
    ink = np.asarray(smooth().convert("CMYK")).astype(float)
    seen = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255
    inks = saved(smooth().convert("CMYK"), "JPEG", quality=100)
    yield right("jpeg cmyk", inks, seen, 12)
    at = inks.index(b"Adobe") - 4
    length = 2 + int.from_bytes(inks[at + 2 : at + 4])
    yield invalid("jpeg cmyk without a mark", inks[:at] + inks[at + length :], from_head=True)
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        content = saved(smooth(), "JPEG", exif=exif)
        yield right(f"jpeg exif {orientation}", content, turned(decoded(content), orientation), 2)
    plain = saved(smooth(), "JPEG")
    long = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 4, 1, 6, 0)
    yield right("jpeg exif 6 as a long number", _with(plain, segment(0xE1, long)), turned(decoded(plain), 6), 2)
    for name, said in {"quotes": "='6'", "blanks": ' = "6"', "an element": "> 6 <"}.items():
        packet = f"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation{said}/>".encode()
        yield right(f"jpeg xmp in {name}", _with(plain, segment(0xE1, packet)), turned(decoded(plain), 6), 2)
    yield right("jpeg exif that goes in a circle", _with(plain, _bomb(8)), decoded(plain), 2)
    yield right("jpeg exif that copies itself", _with(plain, _bomb(5000)), decoded(plain), 2)
    several = saved(smooth(), "MPO", save_all=True, append_images=[smooth(seed) for seed in range(1, 4)])
    yield right("jpeg several pictures (mpo)", several, decoded(several), 2)
    yield right("jpeg gain map behind it", plain + saved(smooth(2), "JPEG"), decoded(plain), 2)
    profile = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 32
    yield right("jpeg profile of 2 MB", _with(plain, profile), decoded(plain), 2)


def damaged() -> Iterator[Case]:
    """What is to be refused."""
    for name, options in {"baseline": {}, "progressive": {"progressive": True}}.items():
        content = saved(smooth(), "JPEG", **options)
        yield invalid(f"jpeg {name} cut", content[: len(content) * 3 // 5], from_head=True)
        yield invalid(f"jpeg {name} without its end", content[:-2], from_head=True)
        yield invalid(f"jpeg {name} cut and ended", content[: len(content) * 4 // 5] + END)
        yield invalid(f"jpeg {name} few bytes missing and ended", content[:-14] + END)
    content = saved(smooth(), "JPEG")
    filled = content[:-2] + b"\xff" * 100_000 + END
    yield invalid("jpeg filled up", filled, from_head=True)
    yield invalid("jpeg no scan", frame_head(64, 64) + END, from_head=True)
    yield invalid("jpeg 12 bits", content.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), from_head=True)
    yield invalid("jpeg lossless", content.replace(b"\xff\xc0", b"\xff\xc3"), from_head=True)
    yield invalid("jpeg no height", frame_head(64, 0) + END, from_head=True)


def large() -> Iterator[Case]:
    """What is beyond a limit."""
    small = saved(smooth(), "JPEG")
    at = small.index(b"\xff\xc0") + 5
    wide = small[:at] + struct.pack(">HH", 60_000, 60_000) + small[at + 4 :]
    yield too_large("jpeg declares 60000 x 60000", wide)
    content = saved(smooth(size=(600, 600)), "JPEG", progressive=True, quality=10)
    scan = content.rindex(b"\xff\xda")
    yield too_large("jpeg 10001 segments", small[:2] + segment(0xFE, b"") * 10_001 + small[2:])
    yield too_large("jpeg thousand scans", content[:-2] + content[scan:-2] * 1000 + END)


def _with(content: bytes, added: bytes) -> bytes:
    """The file with segments behind its start."""
    return content[:2] + added + content[2:]


def _bomb(entries: int) -> bytes:
    """An EXIF block whose entries all stand for the same 60,000 bytes, its next directory being itself."""
    entry = struct.pack("<HHII", 0x9286, 7, 60_000, 8)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, entries) + entry * entries + struct.pack("<I", 8)
    return segment(0xE1, block.ljust(60_020, b"\0"))
