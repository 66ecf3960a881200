"""Why a file was not fetched."""

from __future__ import annotations


class FetchError(Exception):
    """Base of both."""


class Forbidden(FetchError):
    """The URL names what this server does not ask for."""


class Failed(FetchError):
    """Nothing usable came back."""
