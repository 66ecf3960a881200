"""Our refusals as vLLM's errors, which it answers with a 400; the server finds the code in the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vllm.exceptions import VLLMValidationError

from sppruner_vllm.errors import InvalidField


class RefusedRequest(VLLMValidationError, ValueError):
    """To vLLM a client's error, to a caller of `LLM` a ValueError."""


@contextmanager
def refusing(field: str | None = None) -> Iterator[None]:
    """Let what is refused inside leave as vLLM's error.

    Args:
        field: names what is refused; None for the name that the refusal has.
    """
    try:
        yield
    except InvalidField as error:
        if field is not None:
            error.field = field
        raise _as_vllms(error) from error


def _as_vllms(error: InvalidField) -> Exception:
    kind: Any = RefusedRequest
    refused: Exception = kind(str(error), parameter=error.field)
    return refused
