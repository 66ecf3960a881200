"""How many pixels the pictures of one prompt may have together.

Each is small enough to be decoded, and may be asked to be made so small that any number of them fits into the prompt:
without a bound on all of them, one request would keep a server busy with decoding for minutes.
"""

from __future__ import annotations

from threading import Lock

from .head import of_decoding, too_large


class PixelBudget:
    """What is left of it as pictures come in, from several threads."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._taken = 0
        self._lock = Lock()

    def charge(self, name: str, width: int, height: int) -> None:
        """Count a picture, before it is decoded.

        Args:
            name: of its format; what takes longer to decode counts as often as it takes as long.

        Raises:
            UnusablePicture: image_too_large; all so far have too many.
        """
        with self._lock:
            self._taken += width * height * of_decoding(name)
            if self._taken > self._pixels:
                raise too_large(f"the images of this request have more than {self._pixels} pixels together")
