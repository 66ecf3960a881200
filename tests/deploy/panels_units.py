"""Values as Grafana writes them, for the units that the dashboards use."""

from __future__ import annotations

import math

_SUFFIXES = {"reqps": " req/s", "ops": " ops/s", "cps": " c/s", "short": "", "string": ""}
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES = ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit.

    Args:
        unit: Grafana's unit id.
        decimals: after the point, None for three significant digits.
    """
    if not math.isfinite(value):
        return str(value)
    if unit == "percentunit":
        return f"{_number(100 * value, decimals)}%"
    if unit == "s":
        size, name = next(((size, name) for size, name in _TIMES if abs(value) >= size), (1, "s"))
        return f"{_number(value / size, decimals)} {name}"
    size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if abs(value) >= size), (1, ""))
    number = _number(value / size, decimals)
    if unit.startswith("si:"):
        return f"{number} {prefix}{unit.removeprefix('si:')}"
    return f"{number}{' ' + prefix if prefix else ''}{_SUFFIXES[unit]}"


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text
