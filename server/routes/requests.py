"""vLLM's request models with the reduction fields.

Whether a value of these is good is decided by `sppruner_vllm.admission`. All other fields are taken at their word: a
value of another JSON type than the field's is refused, where vLLM would make 1 of true and of "1".
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from vllm.entrypoints.anthropic.protocol import AnthropicCountTokensRequest, AnthropicMessagesRequest
from vllm.entrypoints.openai.chat_completion.protocol import BatchChatCompletionRequest, ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

from sppruner_vllm.request.fields import ReductionFields

from .bad_words import BadWords
from .beams import refuse_left_out
from .most_answers import LENGTH_PENALTY, refuse_too_many_answers


class ChatRequest(ReductionFields, ChatCompletionRequest):
    """A chat completion request."""

    model_config = ConfigDict(strict=True)

    include: Any = None
    bad_words: BadWords = Field(default_factory=list)
    length_penalty: float = LENGTH_PENALTY

    # vLLM looks at neither when the other is there.
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _asks_for_few_answers(self) -> Self:
        refuse_too_many_answers("messages", 1, self.n)
        refuse_left_out(self)
        return self


class BatchRequest(ReductionFields, BatchChatCompletionRequest):
    """A batch of chat completion requests."""

    model_config = ConfigDict(strict=True)

    length_penalty: float | None = LENGTH_PENALTY
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _asks_for_few_answers(self) -> Self:
        refuse_too_many_answers("messages", len(self.messages), self.n)
        return self


class ResponseRequest(ReductionFields, ResponsesRequest):
    """A request of the Responses API."""

    model_config = ConfigDict(strict=True)

    @field_validator("request_id", mode="after")
    @classmethod
    def _is_nobodys_choice(cls, _: str) -> str:
        """vLLM makes the id of the response of it, by which whoever knows it may read what is stored."""
        raise ValueError("the id of a response is the server's choice; a header x-request-id names the request")

    @field_validator("background", "truncation", mode="after")
    @classmethod
    def _null_is_the_default(cls, value: Any, info: ValidationInfo) -> Any:
        """vLLM takes null for these, and fails on it once the answer is there (0.32 and 0.33)."""
        return cls.model_fields[str(info.field_name)].default if value is None else value


class MessagesRequest(ReductionFields, AnthropicMessagesRequest):
    """A request of Anthropic's Messages API."""

    model_config = ConfigDict(strict=True)


class CountTokensRequest(ReductionFields, AnthropicCountTokensRequest):
    """A request to count the tokens of a message."""

    model_config = ConfigDict(strict=True)


class StrictCompletionRequest(CompletionRequest):
    """A completion request."""

    model_config = ConfigDict(strict=True)

    bad_words: BadWords = Field(default_factory=list)
    length_penalty: float = LENGTH_PENALTY

    @model_validator(mode="after")
    def _asks_for_few_answers(self) -> Self:
        many = isinstance(self.prompt, list) and not (self.prompt and isinstance(self.prompt[0], int))
        refuse_too_many_answers("prompt", len(self.prompt) if many and self.prompt else 1, self.n)
        refuse_left_out(self)
        return self
