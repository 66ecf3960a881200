"""Answers of Anthropic's API that vLLM has otherwise."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serving import MODEL_NAME

TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"seen": {"type": "string"}}}}
BEGUN = [{"role": "user", "content": "what is this"}, {"role": "assistant", "content": "It is"}]


def asked(client: httpx.Client, path: str, **fields: Any) -> dict[str, Any]:
    body = {"model": MODEL_NAME, "max_tokens": 6, "temperature": 0, **fields}
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look"}], ids=lambda one: one["type"])
def test_the_input_of_a_tool_is_an_object_whatever_the_model_wrote(client: httpx.Client, choice: object) -> None:
    turn = [{"role": "user", "content": "hello"}]
    answer = asked(client, "/v1/messages", messages=turn, tools=[TOOL], tool_choice=choice, max_tokens=60)
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert calls
    assert all(isinstance(call["input"], dict) for call in calls)


def test_an_answer_that_was_begun_is_gone_on_with(client: httpx.Client) -> None:
    going_on = {"continue_final_message": True, "add_generation_prompt": False}
    chat = asked(client, "/v1/chat/completions", messages=BEGUN, **going_on)
    message = asked(client, "/v1/messages", messages=BEGUN)
    assert message["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert message["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]


def test_a_model_that_is_not_there_is_named(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json={"model": "nobody", "messages": BEGUN, "max_tokens": 1})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
