"""Which exceptions of a rendering are about a picture, and in which words the client hears of them.

Their codes are counted: they are of `sppruner_vllm.metrics.families.RejectedReason`.
"""

from __future__ import annotations

import re
import traceback
from typing import Final, Literal

import aiohttp
from PIL import Image
from pydantic import BaseModel
from vllm.exceptions import VLLMClientError

from sppruner_vllm.errors import InvalidField

IMAGE_URL: Final = "image_url"

_LOADER: Final = "vllm.multimodal.media.image"
_TOO_LARGE: Final = "the image has more pixels than this server decodes"
_BEYOND_A_LIMIT: Final = ("Image dimensions ", "Request decoded media exceeds ")
"""Of vLLM's errors about VLLM_MAX_IMAGE_PIXELS, and about VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES for all of a request."""


_NOTHING_SENT: Final = re.compile(r"multi_modal_data\['(\w+)'\](?:\[\d+\])? is empty")
"""Of vLLM's error about a URL that is empty or null (renderers/base.py)."""

_FIELDS: Final = {"image": IMAGE_URL, "video": "video_url", "audio": "audio_url"}
_EMPTY: Final = {IMAGE_URL: "invalid_image"}


class ErrorObject(BaseModel):
    """`error` of a refusal."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """Body of a refusal."""

    error: ErrorObject


def bounds_refusal(exc: Exception) -> InvalidField | None:
    """What the processor refused about a request's fields, under its own code; vLLM's errors carry none."""
    return exc.__cause__ if isinstance(exc.__cause__, InvalidField) else None


def image_refusal(exc: Exception) -> InvalidField | None:
    """The client's fault behind an exception while a prompt was rendered; None when the image is not to blame.

    Whatever a decoder raises on the client's bytes is about these bytes: Pillow's plugins raise nearly every class of
    exception, so what counts is where it came from. The messages say nothing of the server's files, network or
    decoders: what these met is not the client's to learn.
    """
    message = str(exc)
    match exc:
        case ValueError() | VLLMClientError() if (nothing := _NOTHING_SENT.match(message)) is not None:
            field = _FIELDS.get(nothing[1], nothing[1])
            return InvalidField(field, f"{field} has no url", code=_EMPTY.get(field, "invalid_media"), given="")
        case VLLMClientError() | InvalidField():
            return None
        case Image.DecompressionBombError():
            return _refused("image_too_large", _TOO_LARGE)
        case ValueError() if message.startswith(_BEYOND_A_LIMIT) and _while_decoding(exc):
            return _refused("image_too_large", _TOO_LARGE)
        case aiohttp.ClientError() | TimeoutError():
            return _refused("image_fetch_failed", "the image could not be fetched from its URL")
        case RuntimeError() if message.startswith("Cannot load local files"):
            return _refused("image_url_forbidden", "file: URLs are not open on this server")
        case NotImplementedError() if "base64 data URLs" in message:
            return _refused("invalid_image", "a data: URL of an image must be base64-encoded")
        case _ if _while_decoding(exc):
            return _refused("invalid_image", "the image could not be decoded")
        case _:
            return None


def _while_decoding(exc: Exception) -> bool:
    """Whether Pillow or vLLM's image loader was at work when it was raised."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(exc.__traceback__))
    return any(name == _LOADER or name.split(".")[0] == "PIL" for name in modules)


def truncation_refusal(exc: Exception, limit: object) -> InvalidField | None:
    """The client's fault behind an image without a place in a prompt that was truncated to `limit` tokens."""
    if limit is None or not str(exc).startswith("Failed to apply prompt replacement"):
        return None
    return InvalidField(
        "truncate_prompt_tokens", f"truncate_prompt_tokens={limit} cuts off an image", code="image_cut_off"
    )


ImageCode = Literal["invalid_image", "image_too_large", "image_fetch_failed", "image_url_forbidden"]


def _refused(code: ImageCode, message: str) -> InvalidField:
    return InvalidField(IMAGE_URL, message, code=code)
