"""The server that clients are tried on, as they know it."""

from __future__ import annotations

from dataclasses import dataclass

KEY = "a-key-of-nobody"
MODEL = "tiny"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server as a client knows it.

    url: without a path. key: None where the server asks for none. places: requests it takes at a time; None where
    that is more than a test can fill.
    """

    url: str
    model: str
    key: str | None
    places: int | None

    @property
    def v1(self) -> str:
        """The base URL of OpenAI's clients."""
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What a bare HTTP client sends."""
        return {} if self.key is None else {"authorization": f"Bearer {self.key}"}
