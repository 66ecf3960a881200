"""Where the document of a request's body travels once it is read."""

from __future__ import annotations

from typing import Final

DOCUMENT: Final = "sppruner.document"
"""Key of the ASGI scope."""
