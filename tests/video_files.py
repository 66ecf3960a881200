"""Videos in a container, written by hand: AVI files of JPEG pictures whose headers may say what is not so."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from PIL import Image

from serving import data_url


def frame(size: tuple[int, int], shade: int = 0, kind: str = "JPEG") -> bytes:
    """A picture as JPEG, or as another kind of Pillow's."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 80, 160)).save(buffer, kind)
    return buffer.getvalue()


def frames(count: int, size: tuple[int, int] = (112, 84)) -> list[bytes]:
    """So many pictures, each of another colour."""
    return [frame(size, 40 * number) for number in range(count)]


def avi(
    pictures: Sequence[bytes],
    size: tuple[int, int] = (112, 84),
    *,
    said: int | None = None,
    fps: int = 2,
    codec: bytes = b"MJPG",
) -> bytes:
    """A video of pictures.

    Args:
        size: that its header says. said: number of frames that its header says; None for the number of pictures.
        codec: MPNG for PNG.
    """
    count = len(pictures) if said is None else said
    width, height = size
    main = struct.pack("<14I", 10**6 // fps, 0, 0, 0x10, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vids" + codec + struct.pack("<IHHIIIIIIII4H", 0, 0, 0, 0, 1, fps, 0, count, 0, 0, 0, 0, 0, width, height)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, codec, width * height * 3, 0, 0, 0, 0)
    strl = _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", form))
    movie = _list(b"movi", b"".join(_chunk(b"00dc", picture) for picture in pictures))
    content = _list(b"hdrl", _chunk(b"avih", main) + strl) + movie
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"AVI " + content


def video_url(content: bytes) -> str:
    """A video as clients send it."""
    return data_url(content, "video/avi")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)
