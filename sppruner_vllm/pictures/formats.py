"""Which format a picture has, by what it begins with, and who reads its head."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from . import avif, gif, ico, jpeg, png, tiff, webp
from .head import Head, too_large, unusable
from .plain import refuse_plain

PLAIN: Final = {
    "BMP": (b"BM",),
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF"),
    "QOI": (b"qoif",),
}
"""Formats whose heads Pillow reads as it opens them, without a cost beyond their size, by how they begin."""

OPEN: Final = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
"""All that is decoded, by Pillow's names; MPO and APNG are JPEG and PNG."""

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TGA_END: Final = b"TRUEVISION-XFILE.\0"
_NOT_PICTURES: Final = (
    (b"%PDF", "PDF"), (b"<svg", "SVG"), (b"<?xml", "XML"), (b"<!DOCTYPE", "HTML"), (b"<html", "HTML"),
    (b"PK\3\4", "ZIP"), (b"RIFF", "RIFF"), (b"\x1a\x45\xdf\xa3", "Matroska"), (b"ID3", "MP3"), (b"OggS", "Ogg"),
)  # fmt: skip


def head(content: bytes) -> Head:
    """What a picture says of itself before it is decoded.

    Raises:
        UnusablePicture: no picture, or one whose head cannot be right.
    """
    if not content:
        raise unusable("the image is empty: there is no data")
    if content.startswith(png.SIGNATURE):
        return png.head(content)
    if content.startswith(jpeg.SIGNATURE):
        return jpeg.head(content)
    if content.startswith(gif.SIGNATURES):
        return gif.head(content)
    if webp.is_webp(content):
        return webp.head(content)
    if content.startswith(_TIFF):
        return tiff.head(content)
    if content.startswith(ico.SIGNATURE):
        return ico.head(content)
    if avif.is_avif(content):
        return avif.head(content)
    for name, openings in PLAIN.items():
        if content.startswith(openings):
            return _plain(content, name)
    if content.endswith(_TGA_END):
        return _plain(content, "TGA")
    raise unusable(_what_it_is(content))


def clean(content: bytes, seen: Head) -> tuple[str, bytes]:
    """What Pillow is given of a picture that is within the limits: the format to open it as, and the bytes.

    Raises:
        UnusablePicture: the picture is damaged.
    """
    match seen.format:
        case "PNG":
            return "PNG", png.clean(content, seen)
        case "JPEG":
            return "JPEG", jpeg.clean(content, seen)
        case "GIF":
            return "GIF", gif.clean(content, seen)
        case "WEBP":
            return "WEBP", webp.clean(content, seen)
        case "TIFF":
            return "TIFF", tiff.clean(content, seen)
        case "AVIF":
            return "AVIF", avif.clean(content, seen)
        case "ICO":
            return ico.clean(content, seen)
    return seen.format, content


def opened(content: bytes, name: str) -> Image.Image:
    """Pillow's image of a picture, its pixels not yet decoded.

    Raises:
        UnusablePicture: Pillow cannot open it as this format.
    """
    try:
        return Image.open(io.BytesIO(content), formats=[name])
    except Image.DecompressionBombError as error:
        raise too_large(f"the {name} image has more pixels than this server takes") from error
    except Exception as error:  # Pillow's plugins raise nearly every class of exception
        raise unusable(f"the {name} image cannot be decoded") from error


def _plain(content: bytes, name: str) -> Head:
    refuse_plain(content, name)
    with opened(content, name) as image:
        return Head(name, *image.size)


def _what_it_is(content: bytes) -> str:
    start = content[:64].lstrip()
    if content[4:8] == b"ftyp":
        return "the data is a video, or an image in a format that is not decoded (HEIC)"
    for opening, name in _NOT_PICTURES:
        if start.lower().startswith(opening.lower()):
            return f"the data is {name}, not an image that is decoded; {_decoded()}"
    return f"the data is not an image that is decoded; {_decoded()}"


def _decoded() -> str:
    return f"decoded are {', '.join(OPEN)}"
