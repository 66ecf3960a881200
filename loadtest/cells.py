"""The cells of a sweep, one keep ratio at one concurrency each, and where their results are kept.

A cell is measured once: its settings lie beside its result, and a sweep that was cut short goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .files import RESULT, save
from .mix import show_ratio

SETTINGS: Final = "settings.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """A keep ratio (None: the server's default) and a number of users."""

    ratio: float | None
    users: int

    @property
    def name(self) -> str:
        return f"ratio-{show_ratio(self.ratio)}-users-{self.users}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A cell with its result."""

    cell: Cell
    result: dict[str, Any]

    @property
    def good(self) -> float:
        """Share of the requests that kept the SLO."""
        share: float = self.result["sppruner"]["good_share"]
        return share

    @property
    def kv_cache_usage(self) -> dict[str, float] | None:
        """Mean and most, in [0, 1]."""
        usage: dict[str, float] | None = self.result["sppruner"]["server"]["kv_cache_usage"]
        return usage


def grid(ratios: Sequence[float | None], users: Sequence[int]) -> Iterator[Cell]:
    """All ratios at one concurrency before the next: what drifts meanwhile meets all ratios alike."""
    return (Cell(ratio, count) for count in users for ratio in ratios)


def kept(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The result in a cell's folder, if it was measured with these settings."""
    try:
        if json.loads((folder / SETTINGS).read_text()) != settings:
            return None
        result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    except FileNotFoundError:
        return None
    return result


def keep(folder: Path, settings: dict[str, Any]) -> None:
    """Say what the result in a folder was measured with; call it once the result is there."""
    save(folder / SETTINGS, settings)


def largest_users(measured: Sequence[Measured], ratio: float | None, share: float) -> int | None:
    """The largest concurrency that met the SLO, as all smaller ones did; None when the smallest missed it."""
    best = None
    for one in sorted((one for one in measured if one.cell.ratio == ratio), key=lambda one: one.cell.users):
        if one.good < share:
            break
        best = one.cell.users
    return best
