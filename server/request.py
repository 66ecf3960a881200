"""vLLM's request models with the reduction fields, so that the OpenAPI schema documents them.

Whether a value is good is decided by `sppruner_vllm.admission`.
"""

from __future__ import annotations

from vllm.entrypoints.anthropic.protocol import AnthropicCountTokensRequest, AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from sppruner_vllm.request import ReductionFields


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
