"""Where the demo keeps what it builds: `.cache` of the checkout, or of the working folder when installed as a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).resolve().parents[2]

CACHE: Final = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()) / ".cache"
MODEL: Final = CACHE / "demo-model"
SERVER_LOG: Final = CACHE / "demo-server.log"
EXAMPLE_REQUEST: Final = CACHE / "example-request.json"
