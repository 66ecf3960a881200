"""Beam search takes few of a request's fields: what it would leave out is refused.

vLLM (0.32 and 0.33, `to_beam_search_params`) searches the most likely texts, whatever an answer was to follow, to hold
or to leave out.
"""

from __future__ import annotations

from typing import Any, Final

from vllm.exceptions import VLLMValidationError

_LEFT_OUT: Final = (
    *("structured_outputs", "response_format", "stop", "stop_token_ids", "bad_words", "allowed_token_ids"),
    *("logit_bias", "min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty"),
)
_REPETITION: Final = "repetition_penalty"
"""A factor: one leaves everything as it is."""


def refuse_left_out(request: Any) -> None:
    """Hold a request that searches beams to what the search looks at.

    Args:
        request: of a chat or completion.

    Raises:
        VLLMValidationError: names the first field that would have no effect, or `stream`.
    """
    if not request.use_beam_search:
        return
    if request.stream:
        raise VLLMValidationError("stream: beam search has its answers at its end alone", parameter="stream")
    for name in _LEFT_OUT:
        value = getattr(request, name, None)
        if not value or (name == _REPETITION and value == 1) or getattr(value, "type", None) == "text":
            continue
        raise VLLMValidationError(f"{name} has no effect in a beam search: leave one of them out", parameter=name)
    if getattr(request, "tool_choice", None) not in (None, "auto", "none"):
        raise VLLMValidationError("tool_choice cannot be kept to in a beam search", parameter="tool_choice")
