"""What vLLM's processor made of each picture or video, within a bound in bytes: later questions do not resize it again.

vLLM's own cache knows them by what is asked of them, since their placeholders depend on that; the pixels do not.
docs/develop/architecture.md, "Rows that are kept".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from cachetools import LRUCache
from torch import Tensor
from vllm.multimodal.cache.base import MultiModalCache
from vllm.multimodal.inputs import MultiModalKwargsItem

from sppruner_vllm.owned import owned
from sppruner_vllm.wire import HOST_FIELDS, VIDEO_FIELDS

_ASKED: Final = {*HOST_FIELDS, *VIDEO_FIELDS}
"""Fields that say what is asked of a picture or video."""


class PixelsCache:
    """Processed pictures of one API process, which may process several requests at once."""

    def __init__(self, bound: int) -> None:
        """Args:
        bound: most bytes of pixels; 0 keeps none.
        """
        self._kept: LRUCache[str, MultiModalKwargsItem] = LRUCache(bound, getsizeof=MultiModalCache.get_item_size)
        self._lock = Lock()

    @property
    def held(self) -> int:
        """Bytes held now."""
        return int(self._kept.currsize)

    def find(self, pictures: Sequence[str]) -> dict[int, MultiModalKwargsItem]:
        """The pictures that are held, by place."""
        with self._lock:
            found = {place: self._kept.get(picture) for place, picture in enumerate(pictures)}
        return {place: item for place, item in found.items() if item is not None}

    def keep(self, pictures: Iterable[str], items: Iterable[MultiModalKwargsItem]) -> None:
        """Keep what has a name, is in this host's own memory, and is not larger than the bound.

        Args:
            pictures: their names. items: what vLLM made of each; what is asked of a picture is left out.
        """
        for picture, item in zip(pictures, items, strict=True):
            if not picture or picture in self._kept:
                continue
            own = MultiModalKwargsItem({name: elem for name, elem in item.items() if name not in _ASKED})
            if _is_plain(own) and MultiModalCache.get_item_size(own) <= self._kept.maxsize:
                own = MultiModalKwargsItem({name: _owned(elem) for name, elem in own.items()})
                with self._lock:
                    self._kept[picture] = own

    def clear(self) -> None:
        """Forget all pixels."""
        with self._lock:
            self._kept.clear()


def merged(items: Sequence[MultiModalKwargsItem]) -> Mapping[str, Any]:
    """The fields of several images as their processor gives them; one image's pixels are not copied."""
    return {name: elem.field.reduce_data([item[name] for item in items]) for name, elem in items[0].items()}


def _owned(elem: Any) -> Any:
    return replace(elem, data=owned(elem.data)) if isinstance(elem.data, Tensor) else elem


def _is_plain(item: MultiModalKwargsItem) -> bool:
    return all(_is_here(elem.data) for elem in item.values())


def _is_here(data: object) -> bool:
    """Whether it is a tensor in this host's memory, or numbers in a list, such as the times of frames."""
    if isinstance(data, list):
        return all(isinstance(one, int | float) for one in data)
    return isinstance(data, Tensor) and data.device.type == "cpu"
