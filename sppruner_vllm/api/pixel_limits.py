"""Limits of pixels that a picture is encoded with: the operator's, and those of a request for all or for each.

A picture beyond its limit is made smaller before anything is counted, so that it is known by the size that it gets.
"""

from __future__ import annotations

import math
from typing import Any

from PIL import Image
from vllm.multimodal.parse import ImageProcessorItems

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.request.asked import ReductionRequest
from sppruner_vllm.request.fields import MAX_PIXELS
from sppruner_vllm.settings import settings


def limits_of(request: ReductionRequest, images: int) -> list[int | None]:
    """Most pixels that each image may be encoded with; None for any number.

    Raises:
        InvalidField: a list of the request has not one entry for each of them.
    """
    request.refuse_other_count(images)
    own = settings().max_pixels or None
    asked = [request.pixels_of(place) for place in range(images)]
    return [min((limit for limit in (own, pixels) if limit is not None), default=None) for pixels in asked]


def refuse_fixed(fixed: int | None, request: ReductionRequest, items: Any, images: int) -> None:
    """Refuse a limit of the request's for what cannot be made smaller; one of the operator's passes it by.

    Args:
        fixed: most pixels of what the model brings every picture to; None where each keeps its own.
        items: vLLM's, of the images.

    Raises:
        InvalidField: says why not.
    """
    for place in range(images):
        if (asked := request.pixels_of(place)) is None:
            continue
        item = items.get(place) if isinstance(items, ImageProcessorItems) else items
        if fixed is not None and fixed > asked:
            why = f"this model brings pictures to sizes of its own, of up to {fixed} pixels"
        elif fixed is None and not (item is None or isinstance(item, Image.Image)):
            why = f"image {place} is given as embeddings or as an array, which cannot be made smaller"
        else:
            continue
        raise InvalidField(
            MAX_PIXELS, f"{MAX_PIXELS} of {asked} cannot be kept to: {why}", code="unsupported_parameter"
        )


def same_size(grid: Grid, kept_to: int | None, pixels: int | None, cell: int | None) -> bool:
    """Whether a picture that was sent before would be encoded at the size that it was.

    Args:
        grid: that it was encoded at. kept_to: the limit of pixels that it was made smaller for. pixels: the limit now.
        cell: pixels along a side of a visual token.
    """
    if kept_to is not None or pixels is None or cell is None:
        return kept_to == pixels or cell is None
    return math.prod(grid) * cell**2 <= pixels
