"""The demo's picture and questions: one held-out scene of the world that the demo model has learnt.

The picture is kept as a file, so that asking about it takes none of the packages that draw scenes.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image

PICTURE: Final = Path(__file__).with_name("scene.png")
SEED: Final = 35
"""The layout that the picture was drawn from, 448 x 448 pixels (demo/world/layout.py)."""

QUESTIONS: Final = (
    ("What colour is the star?", "black"),
    ("What does the sign say?", "bank"),
    ("Which shape is right of the diamond?", "cross"),
)
"""What the demo asks, and the right answers; the first question is the one of the example request."""


def picture_url() -> str:
    """The picture as it is, a PNG."""
    return _data_url(PICTURE.read_bytes())


def picture_variant_url(number: int) -> str:
    """The picture with one corner pixel set to `number`: the same to look at, another one to a cache.

    Args:
        number: 0 to 16777215, the RGB value of the top left pixel.
    """
    image = Image.open(PICTURE).convert("RGB")
    image.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return _data_url(buffer.getvalue())


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
