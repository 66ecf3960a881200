"""What other servers of these APIs do and this one does not: refused by its name, where it would be dropped."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bad_bodies import BATCH, CHAT, COMPLETIONS, COUNT, INVOCATIONS, MESSAGES, RESPONSES, good

FUNCTION = {"type": "function", "name": "f", "parameters": {}}
MCP = {"type": "mcp", "server_label": "a", "server_url": "https://a.example"}
SCHEMA = {"type": "json_schema", "schema": {"type": "object"}}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (RESPONSES, {"tools": [MCP]}, "tools[0].type"),
    (RESPONSES, {"tools": [FUNCTION, {"type": "web_search"}]}, "tools[1].type"),
    (RESPONSES, {"tools": [{"type": "web_search_preview"}], "stream": True}, "tools[0].type"),
    (RESPONSES, {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools[0].type"),
    (RESPONSES, {"tools": [{"type": "file_search", "vector_store_ids": ["a"]}]}, "tools[0].type"),
    (RESPONSES, {"tools": [{"type": "image_generation"}]}, "tools[0].type"),
    (RESPONSES, {"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type"),
    (RESPONSES, {"tools": [FUNCTION], "tool_choice": {"type": "mcp", "server_label": "a"}}, "tool_choice.type"),
    (RESPONSES, {"moderation": {"model": "a"}}, "moderation"),
    (RESPONSES, {"image": {"context_compression": "enabled"}}, "image"),
    (
        RESPONSES,
        {"tools": [{"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "custom", "name": "a"}]}]},
        "tools[0].tools[0].type",
    ),
    (RESPONSES, {"conversation": "conv_1"}, "conversation"),
    (RESPONSES, {"conversation": {"id": "conv_1"}}, "conversation"),
    (RESPONSES, {"context_management": [{"type": "compaction"}]}, "context_management"),
    (MESSAGES, {"mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}]}, "mcp_servers"),
    (COUNT, {"mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}]}, "mcp_servers"),
    (MESSAGES, {"container": "container_1"}, "container"),
    (MESSAGES, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread"),
    (MESSAGES, {"compaction": {"type": "auto"}}, "compaction"),
    (MESSAGES, {"output_format": SCHEMA}, "output_format"),
    (MESSAGES, {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management"),
    (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    (CHAT, {"web_search_options": {}}, "web_search_options"),
    (CHAT, {"functions": [{"name": "f", "parameters": {}}]}, "functions"),
    (CHAT, {"function_call": {"name": "f"}}, "function_call"),
    (CHAT, {"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities"),
    (CHAT, {"modalities": "audio"}, "modalities"),
    (CHAT, {"moderation": {"model": "a"}}, "moderation"),
    (CHAT, {"verbosity": "low"}, "verbosity"),
    (RESPONSES, {"text": {"verbosity": "high"}}, "text.verbosity"),
    (MESSAGES, {"diagnostics": {"previous_message_id": "msg_1"}}, "diagnostics"),
    *((path, {"priority": -1}, "priority") for path in (CHAT, BATCH, RESPONSES, COMPLETIONS, MESSAGES, INVOCATIONS)),
    (COMPLETIONS, {"best_of": 3}, "best_of"),
    (COMPLETIONS, {"best_of": 3, "n": 2}, "best_of"),
    (BATCH, {"web_search_options": {}}, "web_search_options"),
    (BATCH, {"best_of": 2}, "best_of"),
    (BATCH, {"early_stopping": True}, "early_stopping"),
    (INVOCATIONS, {"web_search_options": {}}, "web_search_options"),
    (CHAT, {"guided_choice": ["a"]}, "guided_choice"),
    (COMPLETIONS, {"guided_regex": "a"}, "guided_regex"),
]


ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"max_output_tokens": 5}),
    (CHAT, {"stop_sequences": ["a"]}),
    (CHAT, {"system": "be brief"}),
    (CHAT, {"instructions": "be brief"}),
    (CHAT, {"previous_response_id": "resp_1"}),
    (CHAT, {"thinking": {"type": "disabled"}}),
    (BATCH, {"tools": [FUNCTION]}),
    (BATCH, {"stream": True}),
    (BATCH, {"min_tokens": 1}),
    (BATCH, {"ignore_eos": True}),
    (BATCH, {"include": ["message.output_text.logprobs"]}),
    (RESPONSES, {"max_tokens": 5}),
    (RESPONSES, {"n": 2}),
    (RESPONSES, {"response_format": {"type": "json_object"}}),
    (RESPONSES, {"min_tokens": 1}),
    (RESPONSES, {"allowed_token_ids": [1]}),
    (MESSAGES, {"seed": 1}),
    (MESSAGES, {"stop": "a"}),
    (MESSAGES, {"n": 2}),
    (MESSAGES, {"logprobs": True}),
    (MESSAGES, {"response_format": {"type": "json_object"}}),
    (MESSAGES, {"presence_penalty": 1}),
    (MESSAGES, {"mm_processor_kwargs": {"keep_ratio": 0.5}}),
    (COUNT, {"mm_processor_kwargs": {"keep_ratio": 0.5}}),
    (COMPLETIONS, {"max_completion_tokens": 5}),
    (COMPLETIONS, {"tools": [FUNCTION]}),
    (COMPLETIONS, {"messages": [{"role": "user", "content": "hello"}]}),
    (INVOCATIONS, {"instructions": "be brief"}),
]
"""Fields that another of these APIs honours, and this one would drop."""


@pytest.mark.parametrize(("path", "fields"), ELSEWHERE, ids=lambda value: str(value)[:40])
def test_what_another_api_honours_is_refused_and_not_dropped(
    client: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    (field,) = fields
    answer = client.post(path, json=good(path, **fields))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)


def test_a_field_that_has_another_name_here_is_told_by_it(client: httpx.Client) -> None:
    message = client.post(RESPONSES, json=good(RESPONSES, max_tokens=5)).json()["error"]["message"]
    assert "max_output_tokens" in message


@pytest.mark.parametrize(("path", "fields", "param"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_done_is_refused_and_not_dropped(
    client: httpx.Client, path: str, fields: dict[str, Any], param: str
) -> None:
    answer = client.post(path, json=good(path, **fields))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unsupported_parameter", param)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (RESPONSES, {"tools": [FUNCTION], "conversation": None, "context_management": []}),
        (MESSAGES, {"mcp_servers": [], "container": None, "context_management": {"edits": []}}),
        (MESSAGES, {"tools": [{"type": "custom", "name": "f", "input_schema": {"type": "object"}}]}),
        (CHAT, {"modalities": ["text"], "audio": None, "functions": [], "function_call": "none"}),
        (CHAT, {"metadata": {"conversation": "a"}}),
        (RESPONSES, {"tools": [{"type": "custom", "name": "a"}], "tool_choice": "auto", "image": {}}),
        (COMPLETIONS, {"best_of": 2, "n": 2}),
        (COMPLETIONS, {"best_of": 1}),
        (COMPLETIONS, {"max_completion_tokens": None, "tools": [], "top_logprobs": 0, "metadata": {"a": "b"}}),
        (CHAT, {"verbosity": "medium", "priority": 0, "truncation": "disabled", "background": False, "store": True}),
        (CHAT, {"safety_identifier": "a", "prompt_cache_key": "b", "prompt_cache_retention": "24h"}),
        (BATCH, {"stream": False, "tools": None, "min_tokens": 0}),
        (RESPONSES, {"n": 1, "stop": None, "text": {"verbosity": "medium"}, "stream_options": None}),
        (MESSAGES, {"seed": None, "n": 1, "diagnostics": {"previous_message_id": None}, "service_tier": "auto"}),
    ],
    ids=str,
)
def test_a_field_that_asks_for_nothing_is_taken(client: httpx.Client, path: str, fields: dict[str, Any]) -> None:
    answer = client.post(path, json=good(path, **fields))
    assert answer.status_code == 200, answer.text


def test_of_an_answer_that_is_sent_back_nothing_is_left_out(client: httpx.Client) -> None:
    def tokens(*parts: dict[str, Any], **fields: Any) -> int:
        hello = {"role": "user", "content": "hello"}
        turns = [hello, {"role": "assistant", "content": list(parts), **fields}, hello]
        answer = client.post(RESPONSES, json=good(RESPONSES, input=turns))
        assert answer.status_code == 200, answer.text
        return answer.json()["usage"]["input_tokens"]

    one, two = {"type": "output_text", "text": "one fine"}, {"type": "output_text", "text": " day in May"}
    all_of_it = {"type": "output_text", "text": "one fine day in May"}
    whole = tokens(all_of_it, type="message")
    assert tokens(all_of_it) == whole
    assert tokens(one, two, type="message", id="msg_1", status="completed") == whole > tokens(one)
    assert tokens({"type": "refusal", "refusal": "one fine day in May"}) == whole


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, INVOCATIONS])
def test_a_field_of_ours_in_a_header_is_refused_and_not_dropped(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=good(path), headers={"x-sppruner-keep-ratio": "0.5"})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("unknown_parameter", "x-sppruner-keep-ratio")
