"""vLLM's routes for bare text, with requests that are taken at their word.

pydantic makes the number 1 of true and of "1". On these routes too a value of another JSON type than the field's is
refused; requests.py says the same of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Self

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import ConfigDict, model_validator
from vllm.entrypoints.openai.completion import api_router as completion_api
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.serve.tokenize import api_router as tokenize_api
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest

from ..body.check import ReadRequest
from .most_answers import refuse_too_many_answers

STRICT: Final = ConfigDict(strict=True)


class ReadRoute(APIRoute):
    """A route that takes the document as the guard has read it (body/check.py)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_read(request: Request) -> Response:
            return await handle(ReadRequest(request.scope, request.receive))

        return handle_read


router: Final = APIRouter(route_class=ReadRoute)


class StrictCompletionRequest(CompletionRequest):
    """A completion request."""

    model_config = STRICT

    @model_validator(mode="after")
    def _asks_for_few_answers(self) -> Self:
        many = isinstance(self.prompt, list) and not (self.prompt and isinstance(self.prompt[0], int))
        refuse_too_many_answers("prompt", len(self.prompt) if many and self.prompt else 1, self.n)
        return self


class StrictTextRequest(TokenizeCompletionRequest):
    """A text to turn into tokens."""

    model_config = STRICT


class StrictConversationRequest(TokenizeChatRequest):
    """A conversation to turn into tokens."""

    model_config = STRICT


class StrictTokensRequest(DetokenizeRequest):
    """Tokens to turn into text."""

    model_config = STRICT


def _as(upstream: APIRouter, path: str) -> dict[str, Any]:
    """What vLLM declares of the route that ours replaces."""
    route = next(r for r in upstream.routes if isinstance(r, APIRoute) and r.path == path and "POST" in r.methods)
    return {
        "path": path,
        "dependencies": route.dependencies,
        "responses": route.responses,
        "response_model": route.response_model,
        "openapi_extra": route.openapi_extra,
    }


@router.post(**_as(completion_api.router, "/v1/completions"))
async def completions(request: StrictCompletionRequest, raw_request: Request) -> Any:
    """OpenAI's completions."""
    return await completion_api.create_completion(request, raw_request)


@router.post(**_as(tokenize_api.router, "/tokenize"))
async def tokenize(request: StrictTextRequest | StrictConversationRequest, raw_request: Request) -> Any:
    """The token ids of a text or a conversation."""
    return await tokenize_api.tokenize(request, raw_request)


@router.post(**_as(tokenize_api.router, "/detokenize"))
async def detokenize(request: StrictTokensRequest, raw_request: Request) -> Any:
    """The text of token ids."""
    return await tokenize_api.detokenize(request, raw_request)
