"""The command line of the proof kit. Nothing but the standard library."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

METHODS: Final = ("focus_context", "downscale", "maxmin", "uniform")
RATIOS: Final = (0.333, 0.222, 0.111)
OPPONENTS: Final = ("downscale", "maxmin", "uniform")


def parser() -> argparse.ArgumentParser:
    """Flags that are not listed go to the server."""
    found = argparse.ArgumentParser(
        prog="prove", description="Ask the standard sets through lmms-eval and write a report. A second call goes on."
    )
    found.add_argument("--model", help="folder or hub name; with --url, the served name (default: the demo model)")
    found.add_argument("--url", help="a server that runs already, with --allow-reduction-method (default: start one)")
    found.add_argument("--api-key", default="none", help="for --url")
    found.add_argument("--sets", type=_names, default=(), help="with commas between (default: all eight)")
    found.add_argument("--methods", type=_names, default=METHODS, help=f"default: {','.join(METHODS)}")
    found.add_argument("--ratios", type=_ratios, default=RATIOS, help="with commas between; 1 is always measured")
    found.add_argument("--limit", type=_count, help="most questions of a set (default: all; of the demo's, 25)")
    found.add_argument("--local", type=Path, help="folder of sets in place of the hub's, see docs/use/evaluation.md")
    found.add_argument("--concurrency", type=_count, default=16, help="requests under way at a time")
    found.add_argument("--timeout", type=float, default=600.0, help="seconds that one answer may take")
    found.add_argument("--resamples", type=_count, default=2000, help="of the bootstrap, at least 1000")
    found.add_argument("--out", type=Path, help="folder of answers and report (default: .cache/prove/MODEL)")
    found.add_argument("--report-only", action="store_true", help="write the report again from what is there")
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in _names(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, got {text!r}") from error
    if not all(0 < ratio <= 1 for ratio in ratios):
        raise argparse.ArgumentTypeError("a keep ratio must be in (0, 1]")
    return ratios


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
