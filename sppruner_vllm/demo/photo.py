"""The demo's photograph, as data URLs that a chat request can carry. Source and licence: PHOTO.md."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image

PHOTO: Final = Path(__file__).with_name("photo.jpg")
QUESTION: Final = "What is on the table?"


def photo_url() -> str:
    """The photograph as it is, a JPEG."""
    return _data_url("jpeg", PHOTO.read_bytes())


def photo_variant_url(number: int) -> str:
    """The photograph with one corner pixel set to `number`, a PNG: the same picture to look at, another one to a cache.

    Args:
        number: 0 to 16777215, the RGB value of the top left pixel.
    """
    image = Image.open(PHOTO).convert("RGB")
    image.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return _data_url("png", buffer.getvalue())


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
