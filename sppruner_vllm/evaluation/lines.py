"""Files of JSON objects, one a line, only ever appended to: a process that is killed while it writes loses one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a file, none of one that is not there."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                yield json.loads(text)
            except json.JSONDecodeError:  # whoever wrote it was killed
                continue


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Add lines, on a line of their own even behind one that was cut short; they are the system's when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        file.write((b"" if _ends_with_a_line(path, file.tell()) else b"\n") + text.encode())


def _ends_with_a_line(path: Path, size: int) -> bool:
    if size == 0:
        return True
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read() == b"\n"
