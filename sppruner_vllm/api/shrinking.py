"""Pictures beyond a number of visual tokens or pixels, made smaller: what the operator or the request wants of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems

from sppruner_vllm.planning.smaller import Grid, resize, smaller_grid

from .picture_io import note_limit, note_shrunk


def shrunk(
    items: MultiModalDataItems,
    most: Sequence[int | None],
    cell: int,
    grid_of: Callable[[int, int], Grid],
    pixels: Sequence[int | None] | None = None,
) -> MultiModalDataItems:
    """The items, every picture within a number of visual tokens.

    Args:
        items: of a request, with pictures among them.
        most: visual tokens of each picture; None for any number.
        cell: pixels along a side of a visual token.
        grid_of: visual tokens of a picture of that width and height.
        pixels: the limits that `most` was made of, to be noted on what is made smaller; None for others.
    """
    images = items["image"]
    data = []
    for place, tokens in enumerate(most):
        item, limit = images.data[place], None if pixels is None else pixels[place]
        data.append(item if tokens is None else _within(item, images.get(place), tokens, cell, grid_of, limit))
    if all(new is old for new, old in zip(data, images.data, strict=True)):
        return items
    return MultiModalDataItems({**items, "image": ImageProcessorItems(data)})


def _within(
    item: Any, picture: Any, most: int, cell: int, grid_of: Callable[[int, int], Grid], limit: int | None
) -> Any:
    if not isinstance(picture, Image.Image):
        return item
    grid = grid_of(*picture.size)
    if math.prod(grid) <= most:
        return item
    smaller = smaller_grid(grid, most, math.prod(grid_of(cell, cell)))
    if smaller == grid:
        return item
    resized = resize(picture, smaller, cell)
    note_shrunk(resized)
    if limit is not None:
        note_limit(resized, limit)
    if not isinstance(item, MediaWithBytes):
        return resized
    return MediaWithBytes(resized, item.original_bytes, {**(item.io_config or {}), "shrunk_to": list(smaller)})
