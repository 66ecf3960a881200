"""vLLM's routes for bare text, with requests that are taken at their word.

pydantic makes the number 1 of true and of "1". On these routes too a value of another JSON type than the field's is
refused; requests.py says the same of the others.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import ConfigDict
from vllm.entrypoints.openai.completion import api_router as completion_api
from vllm.entrypoints.serve.tokenize import api_router as tokenize_api
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest

from sppruner_vllm.errors import InvalidField

from ..request.vocabulary import highest_token
from .replacing import ReadRoute, declared
from .requests import StrictCompletionRequest

STRICT: Final = ConfigDict(strict=True)

LETTERS: Final = 2**19
"""Of a text that is to become tokens, at least: a second of a core. vLLM bounds a text where it is answered alone."""
TOKENS: Final = 2**18
"""That are to become a text, at least; the same time."""
_EACH: Final = 8
"""Letters that a token may have, where a model's context is longer than these."""


router: Final = APIRouter(route_class=ReadRoute)


class StrictTextRequest(TokenizeCompletionRequest):
    """A text to turn into tokens."""

    model_config = STRICT


class StrictConversationRequest(TokenizeChatRequest):
    """A conversation to turn into tokens."""

    model_config = STRICT


class StrictTokensRequest(DetokenizeRequest):
    """Tokens to turn into text."""

    model_config = STRICT


@router.post(**declared(completion_api.router, "/v1/completions"))
async def completions(request: StrictCompletionRequest, raw_request: Request) -> Any:
    """OpenAI's completions."""
    return await completion_api.create_completion(request, raw_request)


@router.post(**declared(tokenize_api.router, "/tokenize"))
async def tokenize(request: StrictTextRequest | StrictConversationRequest, raw_request: Request) -> Any:
    """The token ids of a text or a conversation.

    Raises:
        InvalidField: it is longer than anything that may be asked.
    """
    field, letters = _length(request)
    if letters > (most := max(LETTERS, _EACH * _model(raw_request).max_model_len)):
        raise InvalidField(field, f"{field}: {letters} letters are more than {most}", code="context_length_exceeded")
    return await tokenize_api.tokenize(request, raw_request)


@router.post(**declared(tokenize_api.router, "/detokenize"))
async def detokenize(request: StrictTokensRequest, raw_request: Request) -> Any:
    """The text of token ids.

    Raises:
        InvalidField: they are more than anything that may be asked, or one is no token.
    """
    model = _model(raw_request)
    if len(request.tokens) > (most := max(TOKENS, model.max_model_len)):
        message = f"tokens: {len(request.tokens)} are more than {most}"
        raise InvalidField("tokens", message, code="context_length_exceeded")
    highest = highest_token(raw_request.app.state.online_renderer.renderer)
    for place, token in enumerate(request.tokens):
        if token > highest:
            message = f"tokens[{place}]: Token id {token} is out of vocabulary"
            raise InvalidField(f"tokens[{place}]", message, code="invalid_value")
    return await tokenize_api.detokenize(request, raw_request)


def _model(raw_request: Request) -> Any:
    """vLLM's ModelConfig."""
    return raw_request.app.state.vllm_config.model_config


def _length(request: StrictTextRequest | StrictConversationRequest) -> tuple[str, int]:
    """What holds the text, and its letters."""
    if isinstance(request, StrictTextRequest):
        return "prompt", len(request.prompt)
    return "messages", sum(_letters(message.get("content")) for message in request.messages)


def _letters(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    parts = content if isinstance(content, list) else ()
    return sum(len(part.get("text") or "") for part in parts if isinstance(part, dict))
