"""The folder in which the processes of one server meet: where prometheus_client keeps what each of them counts.

Our server makes it before it starts any process, and vLLM before it starts several API processes. An engine in a
program of its own may have none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


def meeting_folder() -> Path | None:
    """The folder; None where there is none."""
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None
