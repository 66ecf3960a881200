"""Pictures with more visual tokens than may be, made smaller instead of refused where the operator wants that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from PIL import Image
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems

from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid

from .picture_io import is_shrunk, note_shrunk


def shrunk(
    items: MultiModalDataItems, most: int, cell: int, grid_of: Callable[[int, int], Grid]
) -> MultiModalDataItems:
    """The items, every picture within a number of visual tokens.

    Args:
        items: of a request, with pictures among them.
        most: visual tokens of each picture.
        cell: pixels along a side of a visual token.
        grid_of: visual tokens of a picture of that width and height.
    """
    images = items["image"]
    data = [_within(images.data[place], images.get(place), most, cell, grid_of) for place in range(len(images))]
    if all(new is old for new, old in zip(data, images.data, strict=True)):
        return items
    return MultiModalDataItems({**items, "image": ImageProcessorItems(data)})


def count_shrunk(items: MultiModalDataItems) -> int:
    """Pictures of a request that were made smaller to keep a limit."""
    images = items.get("image")
    if not isinstance(images, ImageProcessorItems):
        return 0
    return sum(is_shrunk(images.get(place)) for place in range(len(images)))


def _within(item: Any, picture: Any, most: int, cell: int, grid_of: Callable[[int, int], Grid]) -> Any:
    if not isinstance(picture, Image.Image):
        return item
    grid = grid_of(*picture.size)
    if math.prod(grid) <= most:
        return item
    smaller = smaller_grid(grid, most, math.prod(grid_of(cell, cell)))
    resized = resize(picture, smaller, cell)
    note_shrunk(resized)
    if not isinstance(item, MediaWithBytes):
        return resized
    return MediaWithBytes(resized, item.original_bytes, {**(item.io_config or {}), "shrunk_to": list(smaller)})
