"""vLLM's reader of one picture, which judges it first and decodes it right or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from vllm import envs
from vllm.multimodal.media import ImageMediaIO, MediaWithBytes

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.pictures import data_url
from sppruner_vllm.pictures.budget import PixelBudget
from sppruner_vllm.pictures.head import Head, Limits, too_large, unusable
from sppruner_vllm.pictures.load import Decoding, Judged, decode, judge
from sppruner_vllm.pictures.orientation import SIDEWAYS
from sppruner_vllm.settings import settings

from .refusing import refusing
from .room import Room

_BYTES_A_PIXEL = 4
_MODES = (None, "1", "CMYK", "HSV", "L", "LA", "RGB", "RGBA", "YCbCr")


class PictureIO(ImageMediaIO):
    """In place of vLLM's ImageMediaIO, for every picture that does not come as pixels.

    Raises:
        RefusedRequest: `media_io_kwargs` of a request have a value that there is not.
    """

    def __init__(
        self,
        image_mode: str | None = "RGB",
        *,
        room: Room | None = None,
        budget: PixelBudget | None = None,
        **kwargs: Any,
    ) -> None:
        """Args:
        room: what the prompt has room for; None to leave that to its processor.
        budget: what may be decoded for the prompt; None for anything.
        """
        with refusing():
            try:
                super().__init__(image_mode, **kwargs)
            except (TypeError, ValueError) as error:
                raise InvalidField(
                    "media_io_kwargs", f"media_io_kwargs of images: {error}", code="invalid_value"
                ) from error
            if image_mode not in _MODES:
                raise InvalidField(
                    "media_io_kwargs", "media_io_kwargs of images: no such image_mode", code="invalid_value"
                )
        self._room = room
        self._budget = budget

    def load_bytes(self, data: bytes) -> MediaWithBytes[Image.Image]:
        """The picture that the bytes are.

        Raises:
            RefusedRequest: they are none that can be decoded right, or one beyond a limit.
        """
        with refusing():
            judged, image, came_in = self._decoded(data, self._how())
        config: dict[str, Any] = {}
        if came_in != image.mode:
            config = {"image_mode": self.image_mode, "rgba_background_color": self.rgba_background_color}
        if judged.shrunk_from is not None:
            config["shrunk_to"] = list(judged.size)
            note_shrunk(image)
        return MediaWithBytes(image, data, config or None)

    def judged(self, data: bytes) -> Judged:
        """What the head of a picture says, which is counted nowhere.

        Raises:
            UnusablePicture: it is none, or beyond a limit.
        """
        return judge(data, self._how())

    def _how(self) -> Decoding:
        return Decoding(limits(), self.image_mode, self.rgba_background_color, settings().shrink_large_images)

    def _decoded(self, data: bytes, how: Decoding) -> tuple[Judged, Image.Image, str]:
        try:
            judged = judge(data, how)
            if self._room is not None:
                width, height = judged.size
                self._room.take(*((height, width) if judged.head.orientation in SIDEWAYS else (width, height)))
            self._charge(judged.head)
            return judged, *decode(judged, how)
        except (InvalidField, MemoryError):
            raise
        except Exception as error:  # whatever it is, it is about the client's bytes
            raise unusable("the image cannot be decoded") from error

    def _charge(self, head: Head) -> None:
        """Since vLLM 0.33 a request has a budget for all its media too."""
        if self._budget is not None:
            self._budget.charge(head.format, head.width, head.height)
        if (budget := getattr(self, "decoded_budget", None)) is not None:
            try:
                budget.charge(_BYTES_A_PIXEL * head.width * head.height)
            except ValueError as error:
                raise too_large("the images of the request have more pixels than this server decodes") from error

    def load_base64(self, media_type: str, data: str) -> MediaWithBytes[Image.Image]:
        """The picture that a base64 text is; its bytes decide what it is, not its media type."""
        with refusing():
            content = data_url.decoded(data)
        return self.load_bytes(content)

    def load_file(self, filepath: Path) -> MediaWithBytes[Image.Image]:
        """The picture in a file that the operator opened to requests."""
        return self.load_bytes(filepath.read_bytes())


def limits() -> Limits:
    """The operator's, and vLLM's own limit of pixels where that is lower."""
    own, vllms = Limits.of(settings()), envs.VLLM_MAX_IMAGE_PIXELS
    return own if not 0 < vllms < own.pixels else Limits(vllms, own.side, own.aspect, own.frames)


_SHRUNK = "sppruner_shrunk"


def note_shrunk(image: Image.Image) -> None:
    """Let the account of the request say that this picture was made smaller."""
    image.info[_SHRUNK] = True


_LIMIT = "sppruner_limit"


def note_limit(image: Image.Image, pixels: int) -> None:
    """Let it be known for which limit of pixels a picture was made smaller."""
    image.info[_LIMIT] = pixels


def limit_of(image: Any) -> int | None:
    """The limit of pixels for which a picture was made smaller; None where it was not."""
    limit: int | None = image.info.get(_LIMIT) if isinstance(image, Image.Image) else None
    return limit


def is_shrunk(image: Any) -> bool:
    """Whether a picture was made smaller to keep a limit."""
    return isinstance(image, Image.Image) and _SHRUNK in image.info
