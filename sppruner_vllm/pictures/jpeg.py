"""JPEG: every segment whole, the scans counted, and what Pillow then gets is the first picture without its metadata.

Whatever else the file holds (EXIF, previews, gain maps, the further pictures of MPO) is not decoded.
"""

from __future__ import annotations

import io
import random
import re
import struct
from dataclasses import dataclass
from typing import Final

from PIL import Image
from simplejpeg import decode_jpeg

from . import orientation
from .head import Head, damaged, incomplete, refuse_empty, short, too_large, unusable

SIGNATURE: Final = b"\xff\xd8\xff"

BLOCK: Final = 64
"""Pixels of the smallest piece that takes data."""

_MOST_SEGMENTS: Final = 10_000
_USUAL_SCANS: Final = 16
_MOST_SCANNED: Final = 2**28
"""Pixels that may be gone through, over all scans, where there are more than the usual ten or so."""

_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_OTHER_FRAMES: Final = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_ADOBE: Final = 0xEE
_INKS: Final = 4
"""Components of CMYK, of which Adobe's are inverted; what is not marked as Adobe's is so here and not there."""
_KEPT: Final = frozenset({0xC4, 0xDB, 0xDD, 0xE0, _ADOBE}) | _FRAMES
"""Tables, restarts, JFIF, Adobe and the frame; a scan is kept with its data."""

_BEHIND: Final = bytes(random.Random(0).choices(range(255), k=64))  # noqa: S311

_COLOURS: Final = {1: "GRAY", 3: "RGB"}
"""What is decoded in one go, by the number of components."""

_NOT_FILLED: Final = re.compile(rb"[^\xff]")

_LENGTH_OF_MARKER: Final = 2
_MARKER: Final = re.compile(rb"\xff(?:[^\x00\xd0-\xd7\xff]|\xff{255})")
"""What ends a scan: any marker but an escaped byte and a restart; or more filling than any encoder writes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """kept: the slices that decoding needs, in order. scans: the end of each scan's data. components: of a pixel."""

    kept: tuple[tuple[int, int], ...]
    scans: frozenset[int]
    components: int


def head(content: bytes) -> Head:
    """What the segments say before any scan is decoded.

    Raises:
        UnusablePicture: no JPEG that could be decoded, one whose end is missing, or one with more scans than pixels
            allow.
    """
    at, kept, scans, frame, turned, adobe = 2, [], [], None, orientation.UPRIGHT, False
    for _ in range(_MOST_SEGMENTS):
        at, marker = _next(content, at)
        if marker in _ALONE:
            continue
        if marker == _END:
            break
        end = at + int.from_bytes(content[at : at + 2])
        if end > len(content) or end < at + 2:
            raise incomplete("JPEG")
        body = content[at + 2 : end]
        if marker in _OTHER_FRAMES:
            raise unusable("the JPEG image is lossless, hierarchical or arithmetic-coded, which is not decoded")
        if marker in _FRAMES:
            if frame is not None:
                raise damaged("JPEG", "it has two frames")
            frame = _frame(body)
        elif marker == _ADOBE:
            adobe = adobe or body.startswith(b"Adobe")
        elif marker == 0xE1 and turned == orientation.UPRIGHT:
            turned = _orientation(body)
        elif marker == _START_OF_SCAN:
            if frame is None:
                raise damaged("JPEG", "a scan comes before its frame")
            found = _MARKER.search(content, end)
            if found is None:
                raise incomplete("JPEG")
            if found.end() - found.start() > _LENGTH_OF_MARKER:
                raise damaged("JPEG", "it is filled up between its scans")
            kept.append((at - 2, found.start()))
            scans.append(found.start())
            at = found.start()
            continue
        if marker in _KEPT:
            kept.append((at - 2, end))
        at = end
    else:
        raise too_large(f"the JPEG image has more than {_MOST_SEGMENTS} segments")
    if frame is None or not scans:
        raise damaged("JPEG", "it has no pixels")
    width, height, components = frame
    if components == _INKS and not adobe:
        raise unusable("the JPEG image does not say how its inks are stored, which decoders guess at")
    if len(scans) > _USUAL_SCANS and len(scans) * width * height > _MOST_SCANNED:
        raise too_large(f"the JPEG image has {len(scans)} scans over {width} x {height} pixels")
    # A block takes a bit at least, of a progressive picture in its first scan.
    lacks = 8 * sum(end - start for start, end in kept) < width * height // BLOCK
    fault = short("JPEG", width, height) if lacks else None
    return Head("JPEG", width, height, 1, turned, Facts(tuple(kept), frozenset(scans), components), fault)


def clean(content: bytes, seen: Head) -> bytes:
    """The first picture, and of it only what decoding needs."""
    facts: Facts = seen.facts
    return b"".join([b"\xff\xd8", *(content[start:end] for start, end in facts.kept), b"\xff\xd9"])


def _next(content: bytes, at: int) -> tuple[int, int]:
    """Where the next marker's segment begins, and the marker."""
    if content[at : at + 1] not in {b"\xff", b""}:
        raise damaged("JPEG", "there is something between its segments")
    found = _NOT_FILLED.search(content, at)
    if found is None:
        raise incomplete("JPEG")
    return found.end(), content[found.start()]


def _frame(body: bytes) -> tuple[int, int, int]:
    """Width, height and components."""
    if len(body) < 6:
        raise incomplete("JPEG")
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    refuse_empty(width, height)
    if precision != 8:
        raise unusable(f"the JPEG image has {precision} bits a sample; 8 are decoded")
    if components not in {1, 3, 4} or len(body) != 6 + 3 * components:
        raise damaged("JPEG", "its frame has another number of components than there can be")
    return width, height, components


def _orientation(body: bytes) -> int:
    if body.startswith(b"Exif\0\0"):
        return orientation.in_exif(body)
    if body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        return orientation.in_xmp(body)
    return orientation.UPRIGHT


def decoded(sound: bytes, seen: Head) -> Image.Image | None:
    """The picture, if libjpeg has nothing to say about it; None where Pillow is to decode it and to be checked.

    Pillow's pixels, of the same library, which tells here of data that it makes up.

    Args:
        sound: as `clean` leaves it. seen: its head.
    """
    facts: Facts = seen.facts
    if facts.components not in _COLOURS:
        return None
    try:
        pixels = decode_jpeg(sound, colorspace=_COLOURS[facts.components], strict=True)
    except ValueError:
        return None
    if pixels.shape != (seen.height, seen.width, facts.components):
        return None
    return Image.fromarray(pixels if facts.components > 1 else pixels[..., 0])


def refuse_short(image: Image.Image, content: bytes, seen: Head, at_least: tuple[int, int] | None) -> None:
    """Refuse a picture whose scans hold fewer data than its pixels take.

    libjpeg makes up what a scan lacks before the marker that ends it, and tells nobody. The picture is decoded once
    more with something behind each scan, which what is complete does not look at.

    Args:
        image: decoded from `content`. at_least: the size that it was decoded for; None for all of it.

    Raises:
        UnusablePicture: data is missing.
    """
    facts: Facts = seen.facts
    parts = [b"\xff\xd8"]
    for start, end in facts.kept:
        parts.append(content[start:end])
        if end in facts.scans:
            parts.append(_BEHIND)
    with Image.open(io.BytesIO(b"".join([*parts, b"\xff\xd9"])), formats=["JPEG"]) as other:
        if at_least is not None:
            other.draft(None, at_least)
        if other.tobytes() != image.tobytes():
            raise incomplete("JPEG")
