"""How the figures that a worker measures at its start reach the API processes, which decide by them.

Through memory where both are one process, through a file of the server's folder where they are not; both are there
before the first request. Where neither leads from the one to the other, there are no figures.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Final

from .folder import meeting_folder
from .planning.paying import Parts

_here: Final[dict[str, Parts]] = {}


def publish(model: str, parts: Parts) -> None:
    """Tell what was measured with a model; to be called by one worker of a server."""
    _here[model] = parts
    if (file := _file(model)) is not None:
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(asdict(parts)))
        draft.replace(file)


def published(model: str) -> Parts | None:
    """What a worker of this server measured with a model; None where nobody did.

    A file that says something else, such as one of another version in a folder that the operator kept, says nothing.
    """
    if model in _here:
        return _here[model]
    if (file := _file(model)) is None:
        return None
    try:
        return Parts(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _file(model: str) -> Path | None:
    folder = meeting_folder()
    return None if folder is None else folder / f"sppruner_parts_{blake2b(model.encode(), digest_size=8).hexdigest()}"
