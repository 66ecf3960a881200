"""What an engine of this very process keeps of each picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def recorded_selections() -> Iterator[list[list[int]]]:
    """The kept indices of every image that any engine of this process reduces inside the block, in order."""
    from sppruner_vllm.worker import positions

    kept: list[list[int]] = []
    pack = positions.pack

    def recording(rows: Any, indices: Any, width: int) -> Any:
        kept.append(indices.tolist())
        return pack(rows, indices, width)

    positions.pack = recording
    try:
        yield kept
    finally:
        positions.pack = pack
