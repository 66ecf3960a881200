"""The memory that a server's processes hold, read from /proc, and whether it grows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ALL: Final = "all"

BLOCKS: Final = 20
"""Readings near each other are alike. Means of as many stretches of the run are not, and a straight line goes through
these."""

QUANTILE: Final = 2.101
"""Of Student's t, 97.5 %, for BLOCKS - 2 degrees of freedom."""

MOST_ALIKE: Final = 0.9
"""Bound on the correlation of neighbouring stretches: above it nothing is known."""

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


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


def slope(
    times: Sequence[float], values: Sequence[float], level_of: Callable[[Sequence[float]], float] = mean
) -> Slope:
    """The straight line through the levels of BLOCKS stretches of equally many readings.

    Where neighbouring stretches still lie on the same side of the line, as with steps, or on the way to a level, there
    are fewer readings than it seems: the margin is that of a first-order autoregression.

    Args:
        times: seconds, rising. values: bytes at these times.
        level_of: what stands for a stretch; `min` for memory of which some is given back again and again.

    Raises:
        ValueError: fewer readings than two a stretch.
    """
    if len(times) < 2 * BLOCKS:
        raise ValueError(f"{len(times)} readings are too few; {2 * BLOCKS} are needed")
    edges = [round(number * len(times) / BLOCKS) for number in range(BLOCKS + 1)]
    stretches = [slice(*pair) for pair in pairwise(edges)]
    xs = [mean(times[stretch]) for stretch in stretches]
    ys = [level_of(values[stretch]) for stretch in stretches]
    centre, level = mean(xs), mean(ys)
    spread = sum((x - centre) ** 2 for x in xs)
    value = sum((x - centre) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread
    rests = [y - level - value * (x - centre) for x, y in zip(xs, ys, strict=True)]
    rest = sum(one**2 for one in rests)
    alike = sum(one * after for one, after in pairwise(rests)) / rest if rest else 0.0
    alike = min(MOST_ALIKE, max(0.0, alike))
    return Slope(value, QUANTILE * math.sqrt(rest / (BLOCKS - 2) / spread * (1 + alike) / (1 - alike)))


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


def title(pid: int) -> str:
    """What a process calls itself, or the module that it runs; empty for one that is gone."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").split()
        if "-m" in words[:-1]:
            return words[words.index("-m") + 1]
        if words and words[0].startswith("VLLM::"):
            return words[0]
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def by_process(root: int) -> dict[str, int]:
    """Bytes of anonymous memory of a process and of all that it started, by title and number."""
    return {f"{title(pid)} {pid}": anonymous(pid) for pid in tree(root)}


def steady(readings: Sequence[tuple[float, Mapping[str, int]]]) -> dict[str, list[int]]:
    """The bytes of each process that is in all readings, and of all processes together under ALL."""
    names = [name for name in readings[0][1] if all(name in sizes for _, sizes in readings)]
    found = {ALL: [sum(sizes.values()) for _, sizes in readings]}
    return found | {name: [sizes[name] for _, sizes in readings] for name in names}


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
