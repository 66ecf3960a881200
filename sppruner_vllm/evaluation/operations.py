"""What a piece of torch code asks of a device, counted and not timed: launches, bytes moved, memory held.

On tensors without data (device "meta") the code runs as on an accelerator, so that its cost there can be told without
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_HOST_ONLY: Final = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "scalar_tensor"})
"""Operations that make a tensor without any work on the device."""


class Operations(TorchDispatchMode):
    """Counts what runs inside `with`.

    launches: operations that do work, each at least one kernel; views and bare allocations are none.
    moved: bytes that these operations read and write, if nothing stays in a cache.
    largest: elements of the largest tensor that was made.
    peak: most bytes alive at once of those that were made.
    names: of all operations, in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches = self.moved = self.largest = self.peak = 0
        self.names: list[str] = []
        self._alive: dict[StorageWeakRef, int] = {}
        self._given: set[StorageWeakRef] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._given.update(_storages((args, kwargs)) - self._alive.keys())
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        self.names.append(name)
        if not func.is_view and name not in _HOST_ONLY:
            self.launches += 1
            self.moved += sum(_bytes(tensor) for tensor in _tensors((args, kwargs, result)))
        if not func.is_view:
            self._remember(result)
        return result

    def _remember(self, result: Any) -> None:
        for tensor in _tensors(result):
            self.largest = max(self.largest, _bytes(tensor) // tensor.element_size())
        fresh = _storages(result) - self._given
        self._alive = {key: size for key, size in self._alive.items() if not key.expired()}
        self._alive |= {key: size for key, size in _sizes(result) if key in fresh}
        self.peak = max(self.peak, sum(self._alive.values()))


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _sizes(tree: Any) -> Iterator[tuple[StorageWeakRef, int]]:
    for tensor in _tensors(tree):
        storage = tensor.untyped_storage()
        yield StorageWeakRef(storage), storage.nbytes()


def _storages(tree: Any) -> set[StorageWeakRef]:
    return {key for key, _ in _sizes(tree)}


def _bytes(tensor: Tensor) -> int:
    """Of the elements that are there: an expanded tensor has no more than its storage."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
