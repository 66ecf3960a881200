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

from .replacing import ReadRoute, declared
from .requests import StrictCompletionRequest

STRICT: Final = ConfigDict(strict=True)


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
    """The token ids of a text or a conversation."""
    return await tokenize_api.tokenize(request, raw_request)


@router.post(**declared(tokenize_api.router, "/detokenize"))
async def detokenize(request: StrictTokensRequest, raw_request: Request) -> Any:
    """The text of token ids."""
    return await tokenize_api.detokenize(request, raw_request)
