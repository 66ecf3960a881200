"""What schemathesis must know of our formats: strings that are pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}


def encoded(side: int, shade: int, kind: str) -> str:
    """A square picture in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade, 255 - shade, 128)).save(buffer, KINDS[kind])
    return base64.b64encode(buffer.getvalue()).decode()


def urls(side: int, shade: int, kind: str) -> str:
    return f"data:{kind};base64,{encoded(side, shade, kind)}"


SIDES = strategies.sampled_from([28, 56, 84])
SHADES = strategies.integers(0, 255)
URLS: Any = strategies.builds(urls, SIDES, SHADES, strategies.sampled_from(sorted(KINDS)))
BYTES: Any = strategies.builds(encoded, SIDES, SHADES, strategies.just("image/png"))

schemathesis.openapi.format("image-data-url", URLS)
schemathesis.openapi.format("image-base64", BYTES)
