"""The memory that a server's processes hold, read from /proc, and whether it grows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

BLOCKS: Final = 20
"""Readings near each other are alike. Means of as many stretches of the run are not, and a straight line goes through
these."""

QUANTILE: Final = 2.101
"""Of Student's t, 97.5 %, for BLOCKS - 2 degrees of freedom."""

_SEGMENT: Final = re.compile(r"/dev/shm/\S+")  # noqa: S108 (looked at, not written)


@dataclass(frozen=True, slots=True)
class Slope:
    """Bytes per second, and half the width of its 95 % interval."""

    value: float
    margin: float

    @property
    def grows(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.value - self.margin > 0


def slope(times: Sequence[float], values: Sequence[float]) -> Slope:
    """The straight line through the means of BLOCKS stretches of equally many readings.

    Args:
        times: seconds, rising. values: bytes at these times.

    Raises:
        ValueError: fewer readings than two a stretch.
    """
    if len(times) < 2 * BLOCKS:
        raise ValueError(f"{len(times)} readings are too few; {2 * BLOCKS} are needed")
    edges = [round(number * len(times) / BLOCKS) for number in range(BLOCKS + 1)]
    stretches = [slice(*pair) for pair in pairwise(edges)]
    xs = [_mean(times[stretch]) for stretch in stretches]
    ys = [_mean(values[stretch]) for stretch in stretches]
    centre, level = _mean(xs), _mean(ys)
    spread = sum((x - centre) ** 2 for x in xs)
    value = sum((x - centre) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - level - value * (x - centre)) ** 2 for x, y in zip(xs, ys, strict=True))
    return Slope(value, QUANTILE * math.sqrt(rest / (BLOCKS - 2) / spread))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def tree(root: int) -> list[int]:
    """A process and all that it started, directly or not."""
    parents = dict(_parents())
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory, resident or swapped; 0 for a process that is gone."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return sum(int(kib) * 1024 for kib in re.findall(r"(?:RssAnon|VmSwap):\s+(\d+) kB", status))
    return 0


def segments(pids: Sequence[int]) -> dict[str, int]:
    """The segments of /dev/shm that processes hold, with their bytes."""
    names: set[str] = set()
    for pid in pids:
        with suppress(OSError):
            names |= set(_SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text()))
    found = {}
    for name in sorted(names):
        with suppress(OSError):
            found[name] = Path(name).stat().st_size
    return found
