"""LangChain's ChatOpenAI."""

from __future__ import annotations

import langchain_openai
import openai
import pytest
from asked import CHOICES, ENOUGH, FOR_A_CALL, QUESTION, RATIO, RETAINED, SCHEMA, TOOL, is_sight, picture
from langchain_core.messages import HumanMessage, ToolMessage


@pytest.fixture(scope="module")
def chat(endpoint):
    def made(**fields):
        chosen = {"max_tokens": 4, "temperature": 0, "max_retries": 0, "stream_usage": True, **fields}
        return langchain_openai.ChatOpenAI(
            model=endpoint.model, base_url=endpoint.v1, api_key=endpoint.key or "none", **chosen
        )

    return made


def seen():
    image = {"type": "image_url", "image_url": {"url": picture()}}
    return [HumanMessage([image, {"type": "text", "text": QUESTION}])]


def test_a_chat_and_its_usage(chat):
    answer = chat(extra_body={"keep_ratio": RATIO}).invoke(seen())
    assert answer.usage_metadata["total_tokens"] > RETAINED
    details = answer.response_metadata["token_usage"]["prompt_tokens_details"]
    assert details["visual_tokens"]["retained"] == RETAINED


def test_a_stream_says_the_same_and_counts(chat):
    model = chat(extra_body={"keep_ratio": RATIO})
    whole = model.invoke(seen())
    chunks = list(model.stream(seen()))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    counted = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert counted[-1]["input_tokens"] == whole.usage_metadata["input_tokens"]


def test_a_tool_that_is_named_is_called_with_arguments_of_its_schema(chat):
    asked = HumanMessage(QUESTION)
    answer = chat(max_tokens=FOR_A_CALL).bind_tools([TOOL], tool_choice="look").invoke([asked])
    (call,) = answer.tool_calls
    assert is_sight(call["args"])
    turns = [asked, answer, ToolMessage("a cat", tool_call_id=call["id"])]
    assert chat().invoke(turns).type == "ai"


def test_an_answer_keeps_to_a_json_schema(chat):
    model = chat(max_tokens=ENOUGH).with_structured_output(SCHEMA, method="json_schema")
    assert is_sight(model.invoke(QUESTION))


def test_an_answer_is_one_of_the_choices(chat):
    model = chat(max_tokens=ENOUGH, extra_body={"structured_outputs": {"choice": CHOICES}})
    assert model.invoke(QUESTION).content in CHOICES


def test_a_bad_request_has_a_code_and_a_param(chat):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(extra_body={"keep_ratio": 1.5}).invoke(seen())
    assert (caught.value.code, caught.value.param) == ("invalid_keep_ratio", "keep_ratio")
