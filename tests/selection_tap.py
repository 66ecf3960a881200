"""A tap in the workers of a real server: every selection, as it is when its rows are packed, into a file.

`--worker-extension-cls selection_tap.Tap` has each worker import this; `flags` and `environment` start a server so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE = "SELECTION_TAP"

flags = ("--worker-extension-cls", "selection_tap.Tap")


def environment(file: Path) -> dict[str, str]:
    """What a server is to be started with, beside `flags`."""
    search = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    return {FILE: str(file), "PYTHONPATH": os.pathsep.join(search)}


@contextmanager
def tapped(file: Path) -> Iterator[list[list[int]]]:
    """The kept tokens of each picture that was selected for inside the block; full at its end."""
    before = len(_lines(file))
    kept: list[list[int]] = []
    yield kept
    kept += [json.loads(line) for line in _lines(file)[before:]]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


class Tap:
    """Has nothing for a worker."""


if FILE in os.environ:
    from sppruner_vllm.worker import positions

    _pack = positions.pack

    def _noting(rows: Any, kept: Any, width: int) -> Any:
        with Path(os.environ[FILE]).open("a") as file:
            file.write(json.dumps(kept.tolist()) + "\n")
        return _pack(rows, kept, width)

    positions.pack = _noting
