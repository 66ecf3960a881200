"""Prints the files and folders that pip's settings of this machine are read from or name, one a line.

For image_test.sh: a build without network settings of its own borrows them, read-only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def places() -> Iterator[Path]:
    """The configuration files that exist, and every local path in their values and in the environment's."""
    pip = [sys.executable, "-m", "pip", "config"]
    debug = subprocess.run([*pip, "debug"], capture_output=True, text=True, check=False).stdout  # noqa: S603 (pip)
    for file, exists in re.findall(r"^ *(/\S+), exists: (True|False)$", debug, re.MULTILINE):
        if exists == "True":
            yield Path(file)
    listed = subprocess.run([*pip, "list"], capture_output=True, text=True, check=False).stdout  # noqa: S603 (pip)
    for line in listed.splitlines():
        for word in line.partition("=")[2].strip("'\"").replace("\\n", " ").split():
            path = Path(re.sub(r"^file://", "", word))
            if path.is_absolute() and path.exists():
                yield path.parent if path.name == "simple" else path  # an index's files lie beside its pages


if __name__ == "__main__":
    print("\n".join(dict.fromkeys(os.fspath(place) for place in places())))
