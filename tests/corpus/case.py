"""One picture, and what is right about it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 56, 84
"""Sides that are whole visual tokens of 28 pixels, unlike so that a turn shows."""


@dataclass(frozen=True)
class Case:
    """content: the bytes of the file.
    truth: (H, W, 3) levels of the picture as it is to be seen; None where it is to be refused.
    code: of the refusal. from_head: whether it is refused before anything is decoded.
    tolerance: most levels that a value may be off, for what is lossy or rounded twice.
    """

    name: str
    content: bytes
    truth: np.ndarray | None = None
    code: str | None = None
    from_head: bool = False
    tolerance: int = 0

    def __str__(self) -> str:
        return self.name


def right(name: str, content: bytes, truth: np.ndarray, tolerance: int = 0) -> Case:
    """A picture that is to be taken."""
    return Case(name, content, np.asarray(truth).astype(np.int64), tolerance=tolerance)


def invalid(name: str, content: bytes, *, from_head: bool = False) -> Case:
    """A picture that cannot be read."""
    return Case(name, content, code="invalid_image", from_head=from_head)


def too_large(name: str, content: bytes) -> Case:
    """A picture beyond a limit, which its head shows."""
    return Case(name, content, code="image_too_large", from_head=True)


def noise(*shape: int, top: int = 256, seed: int = 0) -> np.ndarray:
    """Levels below `top`; the same seed gives the same."""
    return np.random.default_rng(seed).integers(0, top, shape)


def smooth(seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A picture that lossy formats keep well."""
    return Image.fromarray(noise(8, 8, 3, seed=seed).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def grey(levels: np.ndarray) -> np.ndarray:
    """Grey levels in three channels."""
    return np.repeat(levels[..., None], 3, axis=2)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours under an alpha of 0 to 1, on white."""
    share = alpha[..., None]
    return np.rint(colours * share + 255 * (1 - share))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(levels: np.ndarray, orientation: int) -> np.ndarray:
    """What EXIF's orientation makes of stored levels, as its definition says: where the first row and column go."""
    upright = levels.transpose(1, 0, 2) if orientation > 4 else levels
    if orientation in {3, 4, 7, 8}:
        upright = upright[::-1]
    if orientation in {2, 3, 6, 7}:
        upright = upright[:, ::-1]
    return upright
