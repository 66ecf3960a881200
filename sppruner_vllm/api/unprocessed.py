"""The images that vLLM's processor is to make pixels of: those that are not kept, at the sizes of their plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems

from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.smaller import Grid, resize


def unprocessed(
    items: MultiModalDataItems, plans: Sequence[ReductionPlan], places: Sequence[int], cell: int | None
) -> MultiModalDataItems:
    """The items with only those images, at the sizes of their plans; so late that a cached image costs nothing.

    Args:
        items: of the request. plans: one of each image. places: of the images, in order.
        cell: sides of a visual token in pixels; None where images keep their sizes.
    """
    images = items["image"]
    if len(places) == len(images) and all(plan.resized is None for plan in plans):
        return items
    others = {modality: values for modality, values in items.items() if modality != "image"}
    if not places:
        return MultiModalDataItems(others)
    pictures = [_at_size(images.get(place), plans[place].resized, cell) for place in places]
    return MultiModalDataItems({**others, "image": ImageProcessorItems(pictures)})


def _at_size(image: Any, grid: Grid | None, cell: int | None) -> Any:
    return image if grid is None or cell is None else resize(image, grid, cell)
