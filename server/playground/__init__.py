"""The playground's own files, and where they are served."""

from __future__ import annotations

from typing import Final

PATH: Final = "/playground"
