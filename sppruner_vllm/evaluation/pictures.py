"""Pictures as a dataset names them: a path, an http(s) URL, a data URL or bare base64."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Final

import httpx
from PIL import Image, UnidentifiedImageError

from .questions import Picture

_SHORTEST_BASE64: Final = 64
"""Characters; no picture is smaller, and a mistyped path is not taken for one."""

_FETCH_SECONDS: Final = 60


def picture_from(source: str, folder: Path) -> Picture:
    """The picture that `source` names; checked to be one, except behind a URL.

    Args:
        source: path, http(s) URL, data URL or base64.
        folder: what a relative path starts from.

    Raises:
        OSError, ValueError: no such file, or not a picture.
    """
    if source.startswith(("http://", "https://")):
        return Picture(source, partial(_fetch, source))
    if source.startswith("data:"):
        head, _, content = source.partition(",")
        if not head.endswith(";base64"):
            raise ValueError("a data URL must be base64-encoded")
        return _checked("the data URL", partial(_decode, content))
    path = folder / source
    if len(source) < _SHORTEST_BASE64 or _is_file(path):
        if not _is_file(path):
            raise FileNotFoundError(f"no such file: {path}")
        return _checked(str(path), path.read_bytes)
    return _checked("the base64 text", partial(_decode, source))


def opened(picture: Picture) -> Image.Image:
    """A picture in RGB."""
    return Image.open(io.BytesIO(picture.read())).convert("RGB")


def media_type(content: bytes) -> str:
    """The media type of an image file, for a data URL."""
    with Image.open(io.BytesIO(content)) as image:
        return Image.MIME.get(image.format or "", "image/png")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than any file name, or with characters that none has
        return False


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"neither a file nor base64: {error}") from error


@cache
def _fetch(url: str) -> bytes:
    try:
        return httpx.get(url, follow_redirects=True, timeout=_FETCH_SECONDS).raise_for_status().content
    except httpx.HTTPError as error:
        raise OSError(str(error)) from error


def _checked(name: str, read: Callable[[], bytes]) -> Picture:
    try:
        media_type(read())
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that Pillow can read") from error
    return Picture(name, read)
