"""Selections that someone asked to be told of, held until they are fetched, within a bound in bytes.

Nothing is copied to the host before that: a step with such a picture takes as long as any other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from cachetools import LRUCache
from torch import Tensor

from sppruner_vllm.owned import owned
from sppruner_vllm.planning.smaller import Grid
from sppruner_vllm.reduction import Selection
from sppruner_vllm.told import Told

BOUND: Final = 32 * 2**20
"""Most bytes held. A picture of 1,296 tokens takes 13 KB, the largest there may be 0.7 MB."""


class Stopwatch:
    """How long a device works on what is asked of it from here to `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._events = (
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            if device.type == "cuda"
            else None
        )
        self._began = time.perf_counter()
        self._ended = self._began
        if self._events is not None:
            self._events[0].record()

    def stop(self) -> None:
        self._ended = time.perf_counter()
        if self._events is not None:
            self._events[1].record()

    @property
    def seconds(self) -> float:
        """To be asked when it is stopped; waits for the device."""
        if self._events is None:
            return self._ended - self._began
        self._events[1].synchronize()
        return float(self._events[0].elapsed_time(self._events[1])) / 1000


@dataclass(frozen=True, slots=True)
class Remembered:
    """One selection. through: (N,) bool, tokens that went through the whole encoder; None where all did."""

    grid: Grid
    selection: Selection
    through: Tensor | None
    spared: bool
    watch: Stopwatch

    @property
    def nbytes(self) -> int:
        chosen = self.selection
        tensors = (chosen.kept, chosen.is_focus, chosen.saliency, chosen.relevance, self.through)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def told(self) -> Told:
        chosen, through = self.selection, self.through
        return Told(
            grid=self.grid,
            kept=chosen.kept.tolist(),
            focus=chosen.is_focus.tolist(),
            saliency=chosen.saliency.tolist(),
            relevance=None if chosen.relevance is None else chosen.relevance.tolist(),
            through=None if through is None else through.nonzero().flatten().tolist(),
            spared=self.spared,
            seconds=self.watch.seconds,
        )


class Memory:
    """Of one worker; used by one thread."""

    def __init__(self, bound: int = BOUND) -> None:
        """Args:
        bound: most bytes; beyond it those go that were asked for first.
        """
        self._held: LRUCache[str, Remembered] = LRUCache(bound, getsizeof=lambda one: one.nbytes)

    def remember(self, name: str, one: Remembered) -> None:
        """Hold a selection until it is fetched; of the same name the last counts."""
        chosen = one.selection
        alone = Selection(
            owned(chosen.kept),
            owned(chosen.is_focus),
            owned(chosen.saliency),
            None if chosen.relevance is None else owned(chosen.relevance),
            chosen.scores.new_empty(0),  # nobody asks for them
        )
        through = None if one.through is None else owned(one.through)
        one = Remembered(one.grid, alone, through, one.spared, one.watch)
        if one.nbytes <= self._held.maxsize:
            self._held[name] = one

    def tell(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is held under these names, as `Told.as_message` has it; it is held no longer."""
        found = {name: self._held.pop(name) for name in names if name in self._held}
        return {name: one.told().as_message() for name, one in found.items()}

    def clear(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
