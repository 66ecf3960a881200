"""Where demo and evaluation keep what they make: `.cache` of the checkout, or of the working folder.

The other test beds are kept in the checkout itself; no wheel has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).resolve().parents[2]

CACHE: Final = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()) / ".cache"
RANDOM_MODEL: Final = CACHE / "random-model"
TRAINING: Final = CACHE / "train-demo"
WILD_TRAINING: Final = CACHE / "train-wild"
WILD_MODEL: Final = Path(__file__).with_name("wild")
LLAVA_TRAINING: Final = CACHE / "train-llava"
LLAVA_MODEL: Final = Path(__file__).with_name("llava")
SERVER_LOG: Final = CACHE / "demo-server.log"
EXAMPLE_REQUEST: Final = CACHE / "example-request.json"
