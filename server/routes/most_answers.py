"""Bounds the answers that one request asks for: each takes the engine as long as a request of its own.

vLLM takes 16,384 per prompt, more with beam search, and prompts in any number.
"""

from __future__ import annotations

import os
from typing import Any, Final

from pydantic import Field
from vllm.exceptions import VLLMValidationError

LIMIT: Final = "VLLM_MAX_N_SEQUENCES"
"""vLLM's own variable for its limit on `n`; an operator who has set it means it."""
DEFAULT: Final = 128
"""As OpenAI's API has it."""

LENGTH_PENALTY: Final[Any] = Field(1.0, ge=-16, le=16)
"""Beam search raises the length of an answer to that power: beyond, the score of a long one is no number."""


def refuse_too_many_answers(field: str, prompts: int, each: int | None) -> None:
    """Hold a request to the limit.

    Args:
        field: what the request's prompts are called. prompts: how many there are. each: answers to each, None for one.

    Raises:
        VLLMValidationError: there would be more answers than the server gives in one request.
    """
    limit, asked = int(os.environ.get(LIMIT, DEFAULT)), prompts * max(1, each or 1)
    if asked > limit:
        message = f"this request asks for {asked} answers; there may be {limit} in one request"
        raise VLLMValidationError(message, parameter=field if prompts > 1 else "n", value=asked)
