"""Images that no server can use, as `data:` and other URLs, by what is wrong with them."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from serving import data_url, png

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int) -> bytes:
    """A few bytes that claim to be side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0")) + _chunk(b"IEND", b"")


def blank_png(side: int) -> bytes:
    """A few kilobytes that are side x side pixels: nothing is wrong with them but what they cost."""
    return _saved("PNG", Image.new("1", (side, side)))


def broken_png() -> bytes:
    """A sound header and half of the pixels, then a chunk whose type is no text: Pillow raises SyntaxError."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    half = zlib.compress(bytes(64 * 193), level=0)[: 32 * 193]
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", half) + _chunk(b"\0\1\2\3", b"")


def truncated_avif() -> bytes:
    """Its last bytes are missing: Pillow raises SyntaxError."""
    return _saved("AVIF", Image.open(io.BytesIO(png(64, 64))))[:-10]


def unknown_dds() -> bytes:
    """A texture in a format that Pillow does not read: Pillow raises NotImplementedError."""
    content = bytearray(_saved("DDS", Image.new("RGB", (8, 8))))
    content[80:88] = struct.pack("<I4s", 0x4, b"????")
    return bytes(content)


def _saved(format_: str, image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_)
    return buffer.getvalue()


UNDECODABLE = {
    "not an image": b"hello world",
    "truncated": png(256, 256)[:2000],
    "broken chunk": broken_png(),
    "truncated avif": truncated_avif(),
    "unknown dds": unknown_dds(),
}

BAD_IMAGES = {
    **{name: data_url(content) for name, content in UNDECODABLE.items()},
    "bad base64": "data:image/png;base64,@@@@",
    "no base64": "data:image/png,abc",
    "too many pixels": data_url(huge_png(20_000)),
    "aspect ratio": data_url(png(2000, 5)),
    "local file": "file:///etc/hostname",
    "no scheme": "picture.png",
    "empty": "",
}
