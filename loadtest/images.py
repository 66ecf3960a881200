"""The pictures and videos of a run, made or read before it starts: encoding one meanwhile would spoil times."""

from __future__ import annotations

import base64
import io
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

_BLOCK: Final = 28
"""Pixels per patch of colour, about one visual token of the Qwen family: neighbours differ, as in a photograph."""

_GRAIN: Final = 12
_QUALITY: Final = 90


def synthetic_image(width: int, height: int, seed: int) -> bytes:
    """A JPEG of soft colours with some grain. The same arguments give the same bytes, another seed another picture."""
    dice = np.random.default_rng(seed)
    small = dice.integers(0, 256, (-(-height // _BLOCK), -(-width // _BLOCK), 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = dice.integers(-_GRAIN, _GRAIN + 1, (height, width, 1), dtype=np.int16)
    return _jpeg(Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)))


def synthetic_pool(count: int, width: int, height: int, seed: int) -> tuple[str, ...]:
    """`count` different pictures as data URLs."""
    return tuple(
        _data_url(synthetic_image(width, height, seed * 1_000_003 + index), "image/jpeg") for index in range(count)
    )


def synthetic_video(width: int, height: int, pictures: int, seed: int) -> str:
    """A video as vLLM takes one in a data URL: JPEGs with commas between.

    A view moves over a scene, every four pictures.
    """
    scene = Image.open(io.BytesIO(synthetic_image(width + 2 * pictures, height, seed)))
    views = [scene.crop((8 * (number // 4), 0, 8 * (number // 4) + width, height)) for number in range(pictures)]
    return f"data:video/jpeg;base64,{','.join(_base64(_jpeg(view)) for view in views)}"


def video_pool(count: int, width: int, height: int, pictures: int, seed: int) -> tuple[str, ...]:
    """`count` different videos as data URLs."""
    return tuple(synthetic_video(width, height, pictures, seed * 1_000_003 + index) for index in range(count))


def folder_pool(folder: Path) -> tuple[str, ...]:
    """The pictures of a folder, in the order of their names, byte for byte as they are.

    Raises:
        ValueError: there is no picture in it.
    """
    found = [(path, mimetypes.guess_type(path.name)[0] or "") for path in sorted(folder.iterdir()) if path.is_file()]
    pictures = tuple(_data_url(path.read_bytes(), kind) for path, kind in found if kind.startswith("image/"))
    if not pictures:
        raise ValueError(f"no picture in {folder}")
    return pictures


def pick(pool: Sequence[str], session: int, count: int) -> list[str]:
    """The pictures of one session: sessions walk through the pool, so a picture returns as late as possible."""
    return [pool[(session * count + index) % len(pool)] for index in range(count)]


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{_base64(content)}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
