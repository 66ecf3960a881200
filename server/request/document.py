"""Where the document of a request's body travels once it is read, and whose it is."""

from __future__ import annotations

from typing import Final

DOCUMENT: Final = "sppruner.document"
"""Key of the ASGI scope."""

KEY_NAME: Final = "key_name"
"""Key of scope["state"] under which the name of the request's key travels."""
