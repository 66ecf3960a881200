"""What is raised while a prompt is rendered and is about a picture: it leaves the rendering as the client's fault.

It is told there, as later nobody knows that a picture was being read; whose fault all else is, faults.py tells. Codes
are counted: they are of `sppruner_vllm.metrics.labels.RejectedReason`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import aiohttp
from PIL import Image
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


ImageCode = Literal["invalid_image", "image_too_large", "image_fetch_failed", "image_url_forbidden"]


@contextmanager
def blaming_pictures(limit: object = None) -> Iterator[None]:
    """Where a prompt is rendered.

    Args:
        limit: tokens that the client let the prompt be cut to; None for the whole prompt.

    Raises:
        InvalidField: in place of what a picture is to blame for.
    """
    try:
        yield
    except Exception as exc:
        if (refused := image_refusal(exc) or truncation_refusal(exc, limit)) is not None:
            raise refused from exc
        raise


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


def _refused(code: ImageCode, message: str) -> InvalidField:
    return InvalidField(IMAGE_URL, message, code=code)
