"""Whether the images of a request are there, each with its place in the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.parse import DictEmbeddingItems, EmbeddingItems, VideoProcessorItems
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.family import Family

from .connector import INVALID_MEDIA
from .refusing import refusing


def refuse_spare_places(family: Family, inputs: ProcessorInputs) -> None:
    """Of more places than items nobody can say which are meant: vLLM would take the first ones.

    A chat template makes as many as there are items; a prompt that a client wrote may hold others.

    Raises:
        VLLMValidationError: there are more.
    """
    for modality, token in family.media_tokens.items():
        items = inputs.mm_data_items.get(modality)
        if items is not None and (places := inputs.prompt.count(token)) > len(items):
            raise VLLMValidationError(
                f"the prompt has {places} places for {modality} items, but there are {len(items)}",
                parameter="prompt",
            )


def refuse_short_videos(family: Family, inputs: ProcessorInputs) -> None:
    """Refuse a video of fewer pictures than the model can look at.

    Raises:
        RefusedRequest: says how many it has.
    """
    items, least = inputs.mm_data_items.get("video"), 1 if family.videos is None else family.videos.least
    if not isinstance(items, VideoProcessorItems):
        return  # there is none, or it came as embeddings
    for video in items.data:
        frames = video[0] if isinstance(video, tuple) and video else video
        if isinstance(frames, np.ndarray | torch.Tensor | list) and len(frames) < least:
            with refusing():
                message = f"a video needs {least} pictures at least for this model, not {len(frames)}"
                raise InvalidField("video_url", f"{message}; send one picture as an image", code=INVALID_MEDIA)


def refuse_unknown_uuids(inputs: ProcessorInputs, identities: Sequence[str], modality: str = "image") -> None:
    """An image or video sent by UUID alone must be cached under the very plan of this request.

    Args:
        inputs: of the request. identities: the key of each item of the modality.

    Raises:
        VLLMValidationError: one is not.
    """
    items = inputs.mm_data_items[modality]
    if isinstance(items, DictEmbeddingItems | EmbeddingItems):
        return
    for index, identity in enumerate(identities):
        known = inputs.cache is not None and inputs.cache.is_cached_item(identity)
        if not known and items.get(index) is None:
            raise VLLMValidationError(
                f"{modality} {index} was sent by uuid only and is not cached for this keep ratio, method and question",
                parameter="uuid",
            )
