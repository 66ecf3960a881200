"""Names of the files a run leaves, and how they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

RESULT: Final = "result.json"


def save(path: Path, document: object) -> None:
    """Write JSON in one step, so that a run cut short leaves no half a file."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document, indent=1))
    draft.replace(path)
