"""The five bands of the retained ratio by which latency and output are told apart.

A ratio itself would be a label without bounds. Bands are of what was kept, not of what was asked.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

RatioBand = Literal["1", "0.5-1", "0.25-0.5", "0.1-0.25", "0-0.1"]

RATIO_BANDS: Final[tuple[RatioBand, ...]] = get_args(RatioBand)
"""From nothing reduced to most reduced. "0.25-0.5" holds 0.25 < ratio <= 0.5."""

_LOWER_BOUNDS: Final[tuple[tuple[float, RatioBand], ...]] = ((0.5, "0.5-1"), (0.25, "0.25-0.5"), (0.1, "0.1-0.25"))


def ratio_band(original: int, retained: int) -> RatioBand:
    """The band of a request that kept `retained` of `original` visual tokens; original is at least 1."""
    if retained >= original:
        return "1"
    return next((band for bound, band in _LOWER_BOUNDS if retained > bound * original), "0-0.1")
