"""Pictures that reach a prompt as objects: `image_pil` parts, `LLM.chat` and `LLM.generate`.

Judged and brought to eight bits like those that come as bytes; what is no picture is refused with a word about why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageFile
from vllm.multimodal.media import MediaWithBytes

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.pictures.head import Head, refuse_empty, unusable
from sppruner_vllm.pictures.levels import WHITE, flattened, levelled
from sppruner_vllm.pictures.load import Decoding, decode, judge

from .connector import INVALID_MEDIA
from .embedded import misfit
from .picture_io import limits
from .refusing import refusing

PIL_PART: Final = "image_pil"
IMAGE_EMBEDS: Final = "image_embeds"


def judging(info: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What makes vLLM's processing info of a model family, so that it judges the pictures that a request brings.

    Args:
        info: upstream's class, or a function that makes one of several.
    """

    def made(context: Any) -> Any:
        return _judging_class(info if isinstance(info, type) else type(info(context)))(context)

    return made


@cache
def _judging_class(kind: type) -> type:
    """One class for each of vLLM's: it asks for an info with every request."""
    return type(kind.__name__, (_Judging, kind), {"__module__": kind.__module__})


class _Judging:
    """Stands before vLLM's class; `parse_mm_data` is where every renderer hands over what it was given."""

    def parse_mm_data(self, mm_data: Mapping[str, Any], *, validate: bool = True) -> Any:
        # What vLLM makes itself to profile, and what was judged before, comes without validation.
        given = mm_data.get("image")
        if validate:
            _refuse_unopened(mm_data.get("video"))
        if not validate or given is None:
            return super().parse_mm_data(mm_data, validate=validate)  # type: ignore[misc]
        mm_data = {**mm_data, "image": judged(given)}
        try:
            return super().parse_mm_data(mm_data, validate=validate)  # type: ignore[misc]
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
            with refusing():  # pictures were judged, so that it is about embeddings
                raise misfit() from error


def judged(given: Any) -> Any:
    """What stands where the pictures of a prompt are given, each in eight bits and within the limits.

    Args:
        given: one or a sequence of: a PIL image, an array or tensor of one or several pictures, None for one that is
            cached; or embeddings, which are left as they are.

    Raises:
        RefusedRequest: something else, or a picture that cannot be used.
    """
    if isinstance(given, Mapping):
        with refusing(IMAGE_EMBEDS):
            for name, value in given.items():
                if not isinstance(value, torch.Tensor | list):
                    raise InvalidField(
                        IMAGE_EMBEDS, f"{name} of image embeddings must be a tensor", code="invalid_image"
                    )
        return given
    if isinstance(given, list | tuple):
        if given and all(isinstance(item, torch.Tensor) and item.ndim == 2 for item in given):
            return given  # embeddings, one tensor for each picture
        return [_one(item) for item in given]
    if isinstance(given, np.ndarray | torch.Tensor) and given.ndim == 4:
        return [_one(item) for item in given]
    if isinstance(given, torch.Tensor) and given.ndim == 3:
        return given  # to vLLM, embeddings of several pictures
    return [_one(given)]


def _refuse_unopened(videos: Any) -> None:
    """Refuse what a video is to be read from in place of its frames, and a video of none.

    Raises:
        RefusedRequest: one is a path, a URL or bytes, or has no frame.
    """
    given = videos if isinstance(videos, list | tuple) else (videos,)
    with refusing():
        if any(map(_has_no_frame, given)):
            raise InvalidField("video", "a video must have at least one frame", code=INVALID_MEDIA)
        if any(isinstance(video, str | bytes) for video in given):
            raise InvalidField(
                "video",
                "a video must be given as frames here, not as a path, a URL or bytes: read it first, or send it in a "
                "video_url part",
                code=INVALID_MEDIA,
            )


def _has_no_frame(video: Any) -> bool:
    """Of a video as vLLM takes it: its frames, or these with what is known of them."""
    frames = video[0] if isinstance(video, tuple) and video else video
    return isinstance(frames, np.ndarray | torch.Tensor | list) and not len(frames)


def _one(item: Any) -> Any:
    with refusing(PIL_PART):
        match item:
            case None:
                return None
            case MediaWithBytes():
                return item
            case Image.Image():
                return _from_pil(item)
            case np.ndarray() | torch.Tensor():
                return _from_array(item)
            case str() | bytes():
                raise unusable(
                    "an image must be given as a PIL image here, not as a path, a URL or bytes: open it first, or send "
                    "it in an image_url part"
                )
        raise unusable(f"an image must be a PIL image, an array or a tensor, not {type(item).__name__}")


def _from_pil(image: Image.Image) -> Image.Image:
    """The image in RGB; one that is not read yet is read from its file as if it had come as bytes."""
    seen = Head(image.format or "PIL", *image.size)
    limits().refuse(seen)
    if (content := _unread(image)) is not None:
        how = Decoding(limits())
        found = judge(content, how)
        if (found.head.width, found.head.height) == image.size:
            return decode(found, how)[0]
    try:
        image.load()
    except Exception as error:  # Pillow's plugins raise nearly every class of exception
        raise unusable("the image ends early or cannot be decoded") from error
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    return flattened(levelled(image, seen), WHITE)


def _unread(image: Image.Image) -> bytes | None:
    """The bytes of an image that Pillow has opened and not read; None where there are none, or no reader of ours."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in {"GIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP"}:
        return None
    if not image.tile or image.fp is None or image.tell():
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
    return bytes(content)


def _from_array(picture: Any) -> Any:
    """An array as vLLM takes it: height, width and channels, or channels first, in levels of 0 to 255."""
    if picture.ndim != 3:
        raise unusable(f"an image given as an array must have 3 dimensions, not {picture.ndim}")
    channels_last = picture.shape[-1] in {1, 3, 4}
    if not channels_last and picture.shape[0] not in {1, 3, 4}:
        raise unusable(f"an image given as an array must have 1, 3 or 4 channels, not the shape {tuple(picture.shape)}")
    height, width = picture.shape[:2] if channels_last else picture.shape[1:]
    refuse_empty(width, height)
    limits().refuse(Head("array", width, height))
    floats = picture.is_floating_point() if isinstance(picture, torch.Tensor) else picture.dtype.kind == "f"
    if picture.dtype in {torch.uint8, np.dtype(np.uint8)}:
        return picture
    if not floats:
        raise unusable(f"an image given as an array must hold uint8, or floats from 0 to 1, not {picture.dtype}")
    if not (picture.min() >= 0 and picture.max() <= 1):
        raise unusable("an image given as an array of floats must hold values from 0 to 1")
    levels = picture * 255 + 0.5
    return levels.to(torch.uint8) if isinstance(levels, torch.Tensor) else levels.astype(np.uint8)
