"""The items that vLLM's processor is to make pixels of: those that are not kept, images at the sizes of their plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems, VideoProcessorItems

from sppruner_vllm.planning.plan import ReductionPlan
from sppruner_vllm.planning.smaller import Grid, resize


def unprocessed(
    items: MultiModalDataItems,
    plans: Sequence[ReductionPlan],
    places: Mapping[str, Sequence[int]],
    cell: int | None,
) -> MultiModalDataItems:
    """The items with only those images and videos, so late that what is cached costs nothing.

    Args:
        items: of the request. plans: one of each image. places: of the images and of the videos, each in order.
        cell: sides of a visual token in pixels; None where images keep their sizes.
    """
    left: dict[str, Any] = {}
    for kind, values in items.items():
        own = places.get(kind, ())
        if kind not in places or (len(own) == len(values) and (kind != "image" or not _resizes(plans))):
            left[kind] = values
        elif own and kind == "image":
            pictures = [_at_size(values.get(place), plans[place].resized, cell) for place in own]
            left[kind] = ImageProcessorItems(pictures)
        elif own:
            left[kind] = some_videos(values, own)
    same = all(left.get(kind) is values for kind, values in items.items())
    return items if same else MultiModalDataItems(left)


def _resizes(plans: Sequence[ReductionPlan]) -> bool:
    return any(plan.resized is not None for plan in plans)


def some_videos(videos: Any, places: Sequence[int]) -> VideoProcessorItems:
    """Some videos of a request, as vLLM's parser would hold them alone."""
    known = videos.metadata
    some = [known[place] for place in places] if isinstance(known, list) else known
    return VideoProcessorItems([videos.data[place] for place in places], metadata=some)


def _at_size(image: Any, grid: Grid | None, cell: int | None) -> Any:
    return image if grid is None or cell is None else resize(image, grid, cell)
