"""What can go wrong, in a few kinds.

ReductionError
├── InvalidField        a request field the client must correct (HTTP 400)
│   └── UnusablePicture a picture that cannot be decoded right, or is beyond a limit (HTTP 400)
├── RowCountError       the reduction returned another number of rows than planned (HTTP 500)
└── UnsupportedSetup    a start-up configuration we refuse (the process does not start)
"""

from __future__ import annotations


class ReductionError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidField(ReductionError, ValueError):
    """A request field has a value we refuse.

    Attributes:
        field: name of the request field, as the client spelt it.
        code: stable machine-readable code for the error object.
        given: what the client gave there, where a request may have the field many times; None where that is not known.
    """

    def __init__(self, field: str, message: str, *, code: str | None = None, given: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.code = code or f"invalid_{field}"
        self.given = given

    def note(self, given: object) -> None:
        """Say what the client gave, where only someone further out knows it."""
        self.given = given


class UnusablePicture(InvalidField):
    """A picture that this server does not take; its message says why."""

    def __init__(self, message: str, *, field: str = "image_url", code: str = "invalid_image") -> None:
        super().__init__(field, message, code=code)


class RowCountError(ReductionError, RuntimeError):
    """The rows of an image do not match its placeholders in the prompt."""


class UnsupportedSetup(ReductionError, RuntimeError):
    """vLLM's version or start-up options do not go together with visual-token reduction."""
