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
        named = error if field is None else InvalidField(field, str(error), code=error.code, given=error.given)
        raise _as_vllms(named) from named


def _as_vllms(error: InvalidField) -> Exception:
    kind: Any = RefusedRequest
    refused: Exception = kind(str(error), parameter=error.field)
    return refused
