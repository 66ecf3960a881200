"""Videos as clients send them: pictures with commas between."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from serving import chat_body, data_url

FRAMES, EACH = 4, 20
"""Frames that the encoder sees of `clip`, and visual tokens of one."""


def clip(seed: int, size: tuple[int, int] = (140, 112), frames: int = FRAMES) -> str:
    """A video as pictures with commas between, each sent twice: the encoder takes two for one frame."""
    pictures = []
    for frame in range(frames):
        noise = np.random.default_rng(seed + frame).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(buffer, "JPEG")
        pictures += [data_url(buffer.getvalue()).partition(",")[2]] * 2
    return "data:video/jpeg;base64," + ",".join(pictures)


def body_with(url: str | None, *pictures: str, uuid: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chat about pictures and a video behind them."""
    body: Any = chat_body(*pictures, **fields)
    part: dict[str, Any] = {"type": "video_url", "video_url": None if url is None else {"url": url}}
    body["messages"][0]["content"].insert(len(pictures), part if uuid is None else {**part, "uuid": uuid})
    return body
