"""Capacity, fleet: replicas and GPUs for a traffic, with room for peaks and for what fails.

A region is what may fail as a whole; a cell is the replicas behind one balancer. docs/operate/scaling.md, "Fleet".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MONTH_S: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked of the fleet.

    peak: requests per second in the busiest minutes. headroom: share of a replica's rate left free at the peak, in
    [0, 1). peak_to_mean: peak over the mean of a month, at least 1.
    """

    peak: float
    headroom: float = 0.3
    peak_to_mean: float = 3.0

    def __post_init__(self) -> None:
        if not (self.peak > 0 and 0 <= self.headroom < 1 and self.peak_to_mean >= 1):
            raise ValueError("peak must be above 0, headroom in [0, 1) and peak to mean at least 1")

    @property
    def monthly(self) -> float:
        """Requests in 30 days: peak / peak_to_mean x seconds."""
        return self.peak / self.peak_to_mean * MONTH_S


@dataclass(frozen=True, slots=True)
class Layout:
    """How replicas stand.

    gpus: of one replica. spares: replicas per cell that may be down. per_cell: most replicas of a cell, its spares
    among them; None puts a region into one cell. regions: of equal size; with more than one, one may be lost.
    """

    gpus: int = 1
    spares: int = 1
    per_cell: int | None = None
    regions: int = 1

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.spares < 0 or self.regions < 1:
            raise ValueError("gpus and regions must be at least 1, spares at least 0")
        if self.per_cell is not None and self.per_cell <= self.spares:
            raise ValueError("a cell must hold more replicas than its spares")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The answer, over all regions. working: replicas that carry the peak; replicas: these and the spares."""

    working: int
    cells: int
    replicas: int
    gpus: int


def regional_peak(peak: float, regions: int) -> float:
    """Requests per second a region must carry: peak / (regions - 1), so that one may be lost; all of it in one."""
    return peak / max(regions - 1, 1)


def size_fleet(rate: float, traffic: Traffic, layout: Layout) -> Fleet:
    """Replicas for a traffic.

    Per region: working = ceil(regional peak / (rate x (1 - headroom))); cells = ceil(working / (per_cell - spares));
    replicas = working + cells x spares; GPUs = replicas x gpus. Then times regions.

    Args:
        rate: requests per second of one replica, above 0.
        traffic: to be carried.
        layout: of the replicas.
    """
    wanted = regional_peak(traffic.peak, layout.regions) / (rate * (1 - traffic.headroom))
    working = math.ceil(wanted - 1e-9)  # 10 / (2.5 x 0.8) is 5, whatever binary fractions say
    cells = 1 if layout.per_cell is None else math.ceil(working / (layout.per_cell - layout.spares))
    replicas = working + cells * layout.spares
    return Fleet(*(layout.regions * count for count in (working, cells, replicas, replicas * layout.gpus)))
