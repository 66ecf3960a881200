"""vLLM's request models with the reduction fields, so that the OpenAPI schema documents them.

The fields take any value here: pydantic would turn "0.5" and true into numbers and answer in another shape. Whether a
value is good is decided by `sppruner_vllm.admission`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema
from vllm.entrypoints.anthropic.protocol import AnthropicCountTokensRequest, AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from sppruner_vllm.request import MAX_FOCUS_QUERY_CHARS


def _documented(**schema: object) -> Any:
    return WithJsonSchema({"anyOf": [schema, {"type": "null"}]})


class ReductionFields(BaseModel):
    """What a request may say about its images; a field left out or null means the operator's default."""

    keep_ratio: Annotated[Any, _documented(type="number", exclusiveMinimum=0, maximum=1)] = Field(
        None, description="Fraction of each image's visual tokens to keep."
    )
    keep_tokens: Annotated[Any, _documented(type="integer", minimum=2)] = Field(
        None, description="Visual tokens to keep per image. Not together with keep_ratio."
    )
    focus_query: Annotated[Any, _documented(type="string", maxLength=MAX_FOCUS_QUERY_CHARS)] = Field(
        None, description="Text that steers which tokens are kept, in place of the text beside the image."
    )
    reduction_method: Annotated[Any, _documented(type="string")] = Field(
        None, description="Selection method. Refused unless the operator allows it."
    )


class ChatRequest(ReductionFields, ChatCompletionRequest):
    """A chat completion request."""


class BatchRequest(ReductionFields, BatchChatCompletionRequest):
    """A batch of chat completion requests."""


class ResponseRequest(ReductionFields, ResponsesRequest):
    """A request of the Responses API."""


class MessagesRequest(ReductionFields, AnthropicMessagesRequest):
    """A request of Anthropic's Messages API."""


class CountTokensRequest(ReductionFields, AnthropicCountTokensRequest):
    """A request to count the tokens of a message."""
