"""Several timings of one thing, as the report has them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and all of them."""
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "seconds": list(seconds)}
