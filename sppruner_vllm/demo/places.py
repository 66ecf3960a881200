"""Where the demo finds its model and keeps what it builds: `.cache` of the checkout, or of the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).resolve().parents[2]

CACHE: Final = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()) / ".cache"
MODEL: Final = Path(__file__).with_name("model")
"""The trained demo model, part of the package."""

RANDOM_MODEL: Final = CACHE / "random-model"
TRAINING: Final = CACHE / "train-demo"
SERVER_LOG: Final = CACHE / "demo-server.log"
EXAMPLE_REQUEST: Final = CACHE / "example-request.json"
