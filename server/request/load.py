"""The default ratio of this process as its load has it: what waits, and how far the default has slid.

A request waits while its prompt is rendered, and from the moment it goes to the engine until its first token is there.
Were only the engine's count looked at, a burst would be given the whole default: its pictures are decoded first. Of the
event loop; the rule is sppruner_vllm/planning/sliding.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sppruner_vllm.metrics.events import show_load
from sppruner_vllm.planning.sliding import WHOLE, Slide
from sppruner_vllm.settings import Settings, settings


class Load:
    """What waits in this process."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._level = WHOLE
        self._waiting = 0
        self._note(0)

    def enter(self) -> None:
        """A request is rendered, or has gone to the engine."""
        self._note(1)

    def leave(self) -> None:
        """It is rendered; or its first token is there, or none will come."""
        self._note(-1)

    @property
    def ratio(self) -> float:
        """The default ratio in force."""
        return self._slide.ratio(self._level)

    def _note(self, change: int) -> None:
        self._waiting += change
        self._level = self._slide.next_level(self._level, self._waiting)
        show_load(self.ratio, change)


_load: Load | None = None


def follow_load(chosen: Settings, processes: int) -> Load | None:
    """Begin to follow this process's load, if the operator wants it.

    Args:
        processes: API processes of the server, among which the operator's numbers are shared out.
    """
    global _load
    _load = None if (slide := slide_of(chosen, processes)) is None else Load(slide)
    return _load


@contextmanager
def waiting_while(counts: bool) -> Iterator[None]:
    """Let a request wait as long as the block lasts.

    Args:
        counts: whether it does; one that never goes to the engine does not.
    """
    if (load := _load) is None or not counts:
        yield
        return
    load.enter()
    try:
        yield
    finally:
        load.leave()


def slide_of(chosen: Settings, processes: int) -> Slide | None:
    """The rule of one of so many processes; None where the default stays."""
    if chosen.load_floor_ratio is None:
        return None
    begins, ends = chosen.load_begins / processes, chosen.load_ends / processes
    return Slide(chosen.keep_ratio, chosen.load_floor_ratio, begins, ends)


def default_in_force() -> float | None:
    """The default ratio that the load has come to; None where the operator's own is in force."""
    if _load is None or _load.ratio == settings().keep_ratio:
        return None
    return _load.ratio
