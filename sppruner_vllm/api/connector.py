"""Media of requests, by URL: our fetching, our reader of pictures, `data:` URLs as clients write them, and errors that
name the part that is wrong.

Registered under the name of vLLM's own (registration.py): every process that renders prompts gets it, `LLM` included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import torch
from vllm import envs
from vllm.exceptions import VLLMError
from vllm.multimodal.video import get_video_loader_backend_for_processor

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.pictures import data_url
from sppruner_vllm.pictures.head import IMAGE_TOO_LARGE, unusable

from .embedding_bytes import embedding
from .fetching_connector import URL_CODES, FetchingConnector
from .picture_io import PictureIO
from .refusing import refusing
from .room import current_budget, current_room
from .video_io import PICTURES, VideoIO

INVALID_MEDIA = "invalid_media"
MEDIA_TOO_LARGE = "media_too_large"

_BEYOND_VLLMS_LIMIT = "Request decoded media exceeds "
"""Of its error about VLLM_MAX_MEDIA_REQUEST_DECODE_BYTES, new in 0.33."""

_OF_NO_KIND = frozenset({"", "application/octet-stream", "binary/octet-stream"})


class Connector(FetchingConnector):
    """vLLM's MediaConnector for requests from anybody."""

    def _image_io(self, image_mode: str | None = "RGB", *, counted: bool = False) -> PictureIO:
        """vLLM's reader of one picture.

        Args: counted: whether the prompt's room is for it, and what may be decoded. Frames of a video count elsewhere.
        """
        given = {"image_mode": image_mode} | self.media_io_kwargs.get("image", {})
        if counted:
            given |= {"room": current_room(), "budget": current_budget()}
        # vLLM 0.32 has no budget of a request.
        if (budget := getattr(self, "decoded_budget", None)) is not None:
            given["decoded_budget"] = budget
        return PictureIO(**given)

    def fetch_image(self, image_url: str, *, image_mode: str | None = "RGB") -> Any:
        """A picture by its URL."""
        with _blaming("image_url", image_url):
            media_io = self._image_io(image_mode, counted=True)
            return self.load_from_url(image_url.lstrip(), media_io, fetch_timeout=envs.VLLM_IMAGE_FETCH_TIMEOUT)

    async def fetch_image_async(self, image_url: str, *, image_mode: str | None = "RGB") -> Any:
        """A picture by its URL."""
        with _blaming("image_url", image_url):
            media_io, seconds = self._image_io(image_mode, counted=True), envs.VLLM_IMAGE_FETCH_TIMEOUT
            return await self.load_from_url_async(image_url.lstrip(), media_io, fetch_timeout=seconds)

    def _video_io(self, image_mode: str | None, video_processor: str | None) -> VideoIO:
        """vLLM's reader of a video, which is judged first; vLLM makes its own."""
        given = dict(self.media_io_kwargs.get("video", {}))
        backend = get_video_loader_backend_for_processor(video_processor)
        if backend and "video_backend" not in given:
            given["video_backend"] = backend
        return VideoIO(self._image_io(image_mode), room=current_room(), budget=current_budget(), **given)

    def fetch_video(self, video_url: str, *, image_mode: str | None = "RGB", video_processor: str | None = None) -> Any:
        """A video by its URL."""
        with _blaming("video_url", video_url):
            media_io = self._video_io(image_mode, video_processor)
            return self.load_from_url(video_url.lstrip(), media_io, fetch_timeout=envs.VLLM_VIDEO_FETCH_TIMEOUT)

    async def fetch_video_async(
        self, video_url: str, *, image_mode: str | None = "RGB", video_processor: str | None = None
    ) -> Any:
        """As `fetch_video`."""
        with _blaming("video_url", video_url):
            media_io, seconds = self._video_io(image_mode, video_processor), envs.VLLM_VIDEO_FETCH_TIMEOUT
            return await self.load_from_url_async(video_url.lstrip(), media_io, fetch_timeout=seconds)

    def fetch_audio(self, audio_url: str) -> Any:
        """Sound by its URL."""
        with _blaming("audio_url", audio_url):
            return super().fetch_audio(audio_url)

    async def fetch_audio_async(self, audio_url: str) -> Any:
        """As `fetch_audio`."""
        with _blaming("audio_url", audio_url):
            return await super().fetch_audio_async(audio_url)

    def fetch_image_embedding(self, data: str) -> torch.Tensor:
        """Rows of a picture that the client has encoded."""
        with refusing("image_embeds"), _about(data):
            return embedding(data)

    async def fetch_image_embedding_async(self, data: str) -> torch.Tensor:
        """As `fetch_image_embedding`."""
        return await asyncio.to_thread(self.fetch_image_embedding, data)

    def _load_data_url(self, url: str, media_io: Any) -> Any:
        with refusing():
            if isinstance(media_io, PictureIO):
                found = data_url.read(url)
                _refuse_other_kinds(found.media_type)
                content = found.content
            else:
                parts = data_url.split(url)
                if parts.media_type == PICTURES:  # with commas between, which are no base64
                    return media_io.load_base64(parts.media_type, parts.data)
                content = data_url.read(url).content
        return media_io.load_bytes(content)


def _refuse_other_kinds(media_type: str) -> None:
    """Among kinds of pictures the bytes decide; what says that it is none is taken at its word."""
    if not (media_type in _OF_NO_KIND or media_type.startswith("image/")):
        raise unusable(f"the data: URL says that it is {media_type}, which is no image")


@contextmanager
def _blaming(part: str, url: object) -> Iterator[None]:
    """Let an error on a client's media name the part that they came in.

    What is raised about the network or the server's own files passes through.
    """
    with refusing():
        if not isinstance(url, str):
            raise InvalidField(part, f"{part} must be a string", code="invalid_value", given=url)
    try:
        yield
    except VLLMError as error:
        cause = error.__cause__
        if isinstance(cause, InvalidField):
            cause.note(url)
        if part == "image_url" or not isinstance(cause, InvalidField) or cause.field != "image_url":
            raise
        with refusing():
            if cause.code in URL_CODES:
                raise InvalidField(part, str(cause), code=cause.code, given=url) from error
            message = f"in the {part.removesuffix('_url')}: {cause}"
            code = MEDIA_TOO_LARGE if cause.code == IMAGE_TOO_LARGE else INVALID_MEDIA
            raise InvalidField(part, message, code=code, given=url) from error
    except (aiohttp.ClientError, OSError, TimeoutError, MemoryError, asyncio.CancelledError):
        raise
    except Exception as error:
        if part == "image_url":
            raise
        with refusing():
            what = f"the {part.removesuffix('_url')}"
            if str(error).startswith(_BEYOND_VLLMS_LIMIT):
                message = f"with {what} the media of the request are more than this server decodes"
                raise InvalidField(part, message, code=MEDIA_TOO_LARGE, given=url) from error
            raise InvalidField(part, f"{what} could not be decoded", code=INVALID_MEDIA, given=url) from error


@contextmanager
def _about(given: str) -> Iterator[None]:
    """Let a refusal say which of several members of a request it is about."""
    try:
        yield
    except InvalidField as error:
        error.note(given)
        raise
