"""LiteLLM's SDK, by its route for OpenAI-compatible servers."""

from __future__ import annotations

import json

import litellm
import pytest
from asked import CHOICES, ENOUGH, FOR_A_CALL, QUESTION, RATIO, RETAINED, SCHEMA, TOOL, is_sight, openai_messages

USER = [{"role": "user", "content": QUESTION}]
FORM = {"type": "json_schema", "json_schema": {"name": "sight", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def complete(endpoint):
    def asked(messages, **fields):
        chosen = {"max_tokens": 4, "temperature": 0, "num_retries": 0, "max_retries": 0, **fields}
        return litellm.completion(
            model=f"openai/{endpoint.model}",
            messages=messages,
            api_base=endpoint.v1,
            api_key=endpoint.key or "none",
            **chosen,
        )

    return asked


def test_a_chat_and_its_usage(complete):
    answer = complete(openai_messages(), extra_body={"keep_ratio": RATIO})
    assert answer.usage.prompt_tokens > RETAINED
    assert answer.usage.prompt_tokens_details.visual_tokens["retained"] == RETAINED


def test_a_stream_says_the_same_and_counts(complete):
    cut = {"extra_body": {"keep_ratio": RATIO}}
    whole = complete(openai_messages(), **cut)
    chunks = list(complete(openai_messages(), stream=True, stream_options={"include_usage": True}, **cut))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    counted = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert counted[-1].prompt_tokens == whole.usage.prompt_tokens


def test_a_tool_that_is_named_is_called_with_arguments_of_its_schema(complete):
    choice = {"type": "function", "function": {"name": "look"}}
    (call,) = complete(USER, tools=[TOOL], tool_choice=choice, max_tokens=FOR_A_CALL).choices[0].message.tool_calls
    assert is_sight(json.loads(call.function.arguments))


def test_an_answer_keeps_to_a_json_schema(complete):
    assert is_sight(json.loads(complete(USER, response_format=FORM, max_tokens=ENOUGH).choices[0].message.content))


def test_an_answer_is_one_of_the_choices(complete):
    answer = complete(USER, extra_body={"structured_outputs": {"choice": CHOICES}}, max_tokens=ENOUGH)
    assert answer.choices[0].message.content in CHOICES


def test_a_bad_request_has_a_class_and_its_message(complete):
    with pytest.raises(litellm.BadRequestError) as caught:
        complete(USER, extra_body={"keep_ratio": 1.5})
    assert "keep_ratio must be in (0, 1]" in caught.value.message
    assert caught.value.status_code == 400


def test_a_prompt_that_is_too_long_has_a_class_of_its_own(complete):
    with pytest.raises(litellm.ContextWindowExceededError):
        complete([{"role": "user", "content": "x " * 20000}])


def test_an_unknown_model_has_a_class(endpoint):
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(
            model="openai/nobody", messages=USER, api_base=endpoint.v1, api_key=endpoint.key or "none", max_retries=0
        )


def test_a_wrong_key_has_a_class(complete, endpoint):
    if endpoint.key is None:
        pytest.skip("this server asks for no key")
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(
            model=f"openai/{endpoint.model}", messages=USER, api_base=endpoint.v1, api_key="wrong", max_retries=0
        )
