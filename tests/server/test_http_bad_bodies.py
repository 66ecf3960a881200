"""Bodies that a running server cannot use: refused in its vocabulary, on a connection that goes on."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest

from api_errors import error_in
from bad_bodies import (
    BATCH,
    CHAT,
    COMPLETIONS,
    COUNT,
    GOOD,
    INVOCATIONS,
    MESSAGES,
    NOT_OURS,
    RESPONSES,
    STREAMING,
    TOKENIZE,
    UNREADABLE,
    WRONG_VALUES,
    Sent,
    good,
    misplaced,
    misplaced_in_content,
)
from serving import Server, eventually, metric

MISPLACED = {(path, name): sent for path in (CHAT, COMPLETIONS, COUNT) for name, sent in misplaced(path).items()}


TOOL_USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
TEXT = {"type": "text", "text": "a"}

Answer = tuple[int, str, bytes]
"""Status, content type and body."""


class Connection:
    """One connection to the server, which every test of this module uses and none may lose."""

    def __init__(self, url: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._http.auto_open = 0  # a connection that the server closed is an error, not reason for a new one
        self._http.connect()

    def post(self, path: str, content: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """Status, content type and body of the answer."""
        self._http.request("POST", path, content, {"content-type": "application/json", **headers})
        answer = self._http.getresponse()
        return answer.status, answer.headers["content-type"], answer.read()

    def close(self) -> None:
        self._http.close()

    def send(self, path: str, body: dict[str, Any]) -> Answer:
        return self.post(path, json.dumps(body).encode())


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[Connection]:
    with closing(Connection(server.url)) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def _no_fault_of_the_servers(server: Server, client: Any) -> Iterator[None]:
    """What is refused here is never counted as a server error."""
    before = metric(client, "sppruner_requests_total", outcome="server_error")
    yield
    assert metric(client, "sppruner_requests_total", outcome="server_error") == before


def error_of(path: str, answer: Answer) -> dict[str, Any]:
    """The error object of an answer, which has the shape and the words of the API at that path."""
    status, kind, content = answer
    assert kind == "application/json"
    return error_in(path, status, content)


def refused(connection: Connection, path: str, sent: Sent) -> dict[str, Any]:
    answer = connection.post(path, sent.content, sent.headers)
    assert answer[0] == sent.status, answer[2]
    error = error_of(path, answer)
    assert error["code"] == sent.code, error
    if sent.param is not None:
        assert error["param"] == sent.param
    return error


def goes_on(connection: Connection, path: str) -> None:
    """The next request on the same connection is answered."""
    status, _, content = connection.send(path, good(path))
    assert status == 200, content


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_refused_everywhere(connection: Connection, path: str, name: str) -> None:
    refused(connection, path, UNREADABLE[name](path))
    goes_on(connection, path)


@pytest.mark.parametrize(("path", "name"), MISPLACED)
def test_a_field_of_ours_that_would_be_lost_is_refused(connection: Connection, path: str, name: str) -> None:
    assert "keep_" in refused(connection, path, MISPLACED[path, name])["message"]


@pytest.mark.parametrize(("path", "name"), misplaced_in_content())
def test_a_field_of_ours_inside_a_message_is_refused(connection: Connection, path: str, name: str) -> None:
    message = refused(connection, path, misplaced_in_content()[path, name])["message"]
    assert "belongs at the top level of the body" in message


def test_a_field_of_ours_in_the_query_is_refused(connection: Connection) -> None:
    answer = connection.send(f"{CHAT}?keep_ratio=0.2", good(CHAT))
    assert (answer[0], error_of(CHAT, answer)["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_only_looks_like_ours_is_left_alone(connection: Connection, name: str) -> None:
    status, _, content = connection.send(CHAT, good(CHAT, **NOT_OURS[name]))
    assert status == 200, content


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_value_that_cannot_be_used_is_a_400_before_any_stream(connection: Connection, name: str) -> None:
    path, fields = WRONG_VALUES[name]
    for more in ({}, {"stream": True}) if path in STREAMING else ({},):
        answer = connection.send(path, good(path, **fields, **more))
        assert answer[0] == 400, answer[2]
        error_of(path, answer)
        goes_on(connection, path)


@pytest.mark.parametrize(
    ("name", "param"),
    [
        ("truncate_prompt_tokens -5", "truncate_prompt_tokens"),
        ("truncate_prompt_tokens huge", "truncate_prompt_tokens"),
        ("seed huge", "seed"),
        ("no such token", "logit_bias"),
        ("a schema of itself", "response_format"),
        ("an output of itself", "output_config"),
        ("a huge message", "max_tokens"),
        ("too long", "messages"),
        ("a thousand million items", "response_format.json_schema.schema.minItems"),
        ("a thousand million letters", "output_config.format.schema.maxLength"),
        ("a pattern of a thousand million", "response_format.json_schema.schema.patternProperties.^a{1000000000}$"),
        ("a regex of a thousand million", "structured_outputs.regex"),
        ("a very long word", "response_format.json_schema.schema.const"),
        ("a very long choice", "structured_outputs.choice[0]"),
        ("far too long", "messages"),
        ("far too long a message", "messages"),
        ("far too long an input", "input"),
        ("far too long a prompt", "prompt"),
        ("far too long a text", "prompt"),
        ("far too many tokens", "tokens"),
        ("nobody's token", "tokens[1]"),
        ("a forced tool that is there twice", "tool_choice"),
        ("a forced tool that is not there", "tool_choice"),
        ("deep arguments", "messages[1].tool_calls[0].function.arguments"),
        ("arguments of many digits", "messages[1].tool_calls[0].function.arguments"),
        ("an earlier call of many digits", "input[0].arguments"),
        ("what is for connectors", "vllm_xargs.kv_transfer_params"),
        ("beams that follow a choice", "structured_outputs"),
        ("beams that stop", "stop"),
        ("beams that must call", "tool_choice"),
        ("more beams than there may be", "n"),
        ("a schema that nothing holds", "response_format.json_schema.schema.not"),
        ("a tag that nothing holds", "structured_outputs.structural_tag.format.json_schema.minLength"),
        ("a strict tool that nothing holds", "tools[0].input_schema.dependentRequired"),
        ("a choice among tools that are not there", "tool_choice.tools[0].name"),
        ("pictures beside the messages", "images"),
        ("pictures beside the content", "messages[0].images"),
        ("pictures beside a prompt", "multi_modal_data"),
        ("an answer that is begun", "messages[1].prefix"),
        ("an output without a schema", "output_config.format.schema"),
        ("a result of the assistant", "messages[1].content[0].type"),
        ("thought that nothing bounds", "thinking"),
        ("a sound", "messages[0].content[0].input_audio"),
        ("a prompt of numbers", "messages[0].content[0].data"),
        ("a ratio among parameters", "parameters.keep_ratio"),
        ("a uuid of nothing", "messages[0].content[0].uuid"),
        ("a uuid of a text", "messages[0].content[0].uuid"),
        ("an argument beyond 64 bits", "vllm_xargs"),
        ("a uuid without end", "messages[0].content[0].uuid"),
        ("an id of the client's", "request_id"),
        ("a schema in a text", "structured_outputs.json"),
        ("many that are within", "response_format.json_schema.schema.anyOf[6].maxLength"),
        ("a list of very many", "response_format.json_schema.schema.enum"),
        ("a very long pattern", "structured_outputs.regex"),
        ("very many bad words", "bad_words"),
        ("a schema of somewhere else", "response_format.json_schema.schema.$ref"),
        ("a power without end", "length_penalty"),
        ("a choice of no tools", "tool_choice"),
        ("an empty stop", "stop_sequences"),
        ("a budget beyond the answer", "thinking.budget_tokens"),
        ("an unknown tool", "tool_choice"),
        ("a regex that does not end", "structured_outputs"),
        ("nothing left of the prompt", "truncate_prompt_tokens"),
        ("too many alternatives", "top_logprobs"),
        ("what the template takes by itself", "chat_template_kwargs"),
    ],
)
def test_the_field_to_correct_is_named(connection: Connection, name: str, param: str) -> None:
    path, fields = WRONG_VALUES[name]
    assert error_of(path, connection.send(path, good(path, **fields)))["param"] == param


def test_an_empty_url_is_told_as_such(connection: Connection) -> None:
    path, fields = WRONG_VALUES["an empty url"]
    error = error_of(path, connection.send(path, good(path, **fields)))
    assert (error["code"], error["param"]) == ("invalid_image", "messages[0].content[0].image_url")
    assert "uuid" not in error["message"]


def test_too_long_a_prompt_has_a_code_of_its_own(connection: Connection) -> None:
    path, fields = WRONG_VALUES["too long"]
    assert error_of(path, connection.send(path, good(path, **fields)))["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"n": 129}, "n"),
        (CHAT, {"n": 16384, "use_beam_search": True}, "n"),
        (COMPLETIONS, {"n": 129, "stream": True}, "n"),
        (COMPLETIONS, {"prompt": ["a"] * 129}, "prompt"),
        (COMPLETIONS, {"prompt": [[1], [2], [3]], "n": 64}, "prompt"),
        (BATCH, {"messages": [[{"role": "user", "content": "a"}]] * 129}, "messages"),
    ],
    ids=["chat", "beams", "stream", "texts", "tokens", "batch"],
)
def test_more_answers_than_a_request_may_ask_for(
    connection: Connection, path: str, fields: dict[str, Any], param: str
) -> None:
    error = error_of(path, connection.send(path, good(path, **fields)))
    assert error["param"] == param
    assert "there may be 128" in error["message"]


def test_one_long_prompt_of_tokens_is_one_answer(connection: Connection) -> None:
    assert connection.send(COMPLETIONS, good(COMPLETIONS, prompt=[1] * 200))[0] == 200


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (INVOCATIONS, {"temperature": "0.5"}, "temperature"),
        (INVOCATIONS, {"stream": True, "stream_options": {"include_usage": []}}, "stream_options.include_usage"),
        (INVOCATIONS, {"messages": None}, "messages"),
        (CHAT, {"structured_outputs": True}, "structured_outputs"),
        (CHAT, {"stop": list("abcde")}, "stop"),
        (CHAT, {"repetition_detection": {"max_pattern_size": 5, "min_count": 0}}, "repetition_detection"),
        (COMPLETIONS, {"prompt": [10**9]}, "prompt"),
        (RESPONSES, {"tools": 5}, "tools"),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type"),
        (RESPONSES, {"input": [{"type": "reasoning", "id": "a", "summary": [{}]}]}, "input[0].summary[0].type"),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        (MESSAGES, {"messages": [{"role": "user", "content": [TOOL_USE, TEXT]}]}, "messages[0].content[0].type"),
        (TOKENIZE, {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        (
            TOKENIZE,
            {"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": 5},
            "add_generation_prompt",
        ),
    ],
    ids=str,
)
def test_wherever_a_value_is_wrong_its_place_is_named(
    connection: Connection, path: str, fields: dict[str, Any], param: str
) -> None:
    body = good(path, **fields)
    if "prompt" not in fields and "messages" in fields:
        body.pop("prompt", None)
    assert error_of(path, connection.send(path, body))["param"] == param


def test_an_earlier_response_that_there_is_not_is_named_as_the_client_did(connection: Connection) -> None:
    answer = connection.send(RESPONSES, good(RESPONSES, previous_response_id="resp_of_nobody"))
    error = error_of(RESPONSES, answer)
    assert (answer[0], error["code"], error["param"]) == (404, "not_found", "previous_response_id")


@pytest.mark.parametrize("path", [INVOCATIONS, CHAT])
def test_a_refused_stream_leaves_the_engine_empty(connection: Connection, client: Any, path: str) -> None:
    answer = connection.send(path, good(path, stream=True, stream_interval=10**30))
    assert answer[0] == 400
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)
