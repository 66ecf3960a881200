"""What we rebind of vLLM's handlers of Anthropic's API, on vLLM's own class: that it is there, and is still needed."""

from __future__ import annotations

import inspect
from functools import partial

from fastapi.responses import JSONResponse
from sppruner_server.routes.anthropic import INVALID, continuing, with_objects
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse

from serving import MODEL_NAME


def test_vllm_still_answers_what_was_begun_and_fails_on_a_tools_input_that_is_no_object() -> None:
    """Once it goes on with an answer, and sends objects alone, routes/anthropic.py can go."""
    begun = AnthropicMessagesRequest.model_validate(
        {
            "model": MODEL_NAME,
            "max_tokens": 4,
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        }
    )
    convert = AnthropicServingMessages.to_chat_completion_request
    stock, ours = convert(begun), continuing(convert)(begun)
    assert (stock.continue_final_message, stock.add_generation_prompt) == (False, True)
    assert (ours.continue_final_message, ours.add_generation_prompt) == (True, False)
    source = inspect.getsource(AnthropicServingMessages)
    assert "self.to_chat_completion_request(" in source
    assert "self.messages_full_converter(" in source
    for written in ("false", '{"a": NaN}', "{", '{"a": "\\ud800"}', "[" * 5000):
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": written}}
        answer = ChatCompletionResponse.model_validate(
            {
                "model": MODEL_NAME,
                "usage": {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1},
                "choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [call]}}],
            }
        )
        converted = with_objects(partial(AnthropicServingMessages.messages_full_converter, None))(answer)
        assert converted.content[0].input == {INVALID: written}
        JSONResponse(converted.model_dump(exclude_none=True))
