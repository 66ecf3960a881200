"""The names of the fields that each endpoint's body may have, from vLLM's own classes and ours."""

from __future__ import annotations

from pydantic import BaseModel
from sppruner_server import request
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest

TAKEN: dict[str, tuple[type[BaseModel], ...]] = {
    "/v1/chat/completions": (request.ChatRequest,),
    "/v1/chat/completions/batch": (request.BatchRequest,),
    "/v1/responses": (request.ResponseRequest,),
    "/v1/completions": (CompletionRequest,),
    "/v1/messages": (request.MessagesRequest,),
    "/v1/messages/count_tokens": (request.CountTokensRequest,),
    "/tokenize": (TokenizeChatRequest, TokenizeCompletionRequest),
    "/detokenize": (DetokenizeRequest,),
    "/invocations": (request.ChatRequest,),
}


def known_fields() -> dict[str, list[str]]:
    """Per path, the names at the top level of a body, sorted."""
    return {path: sorted({name for each in taken for name in each.model_fields}) for path, taken in TAKEN.items()}
