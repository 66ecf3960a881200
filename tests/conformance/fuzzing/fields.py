"""The names of the fields that each endpoint's body may have, from vLLM's own classes and ours."""

from __future__ import annotations

from pydantic import BaseModel
from sppruner_server.routes import requests
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest, TokenizeCompletionRequest

TAKEN: dict[str, tuple[type[BaseModel], ...]] = {
    "/v1/chat/completions": (requests.ChatRequest,),
    "/v1/visual-tokens": (requests.ChatRequest,),
    "/v1/chat/completions/batch": (requests.BatchRequest,),
    "/v1/responses": (requests.ResponseRequest,),
    "/v1/completions": (CompletionRequest,),
    "/v1/messages": (requests.MessagesRequest,),
    "/v1/messages/count_tokens": (requests.CountTokensRequest,),
    "/tokenize": (TokenizeChatRequest, TokenizeCompletionRequest),
    "/detokenize": (DetokenizeRequest,),
    "/invocations": (requests.ChatRequest,),
}


def known_fields() -> dict[str, list[str]]:
    """Per path, the names at the top level of a body, sorted."""
    return {path: sorted({name for each in taken for name in each.model_fields}) for path, taken in TAKEN.items()}
