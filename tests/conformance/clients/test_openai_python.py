"""OpenAI's Python client."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from asked import (
    CHOICES,
    ENOUGH,
    FOR_A_CALL,
    ORIGINAL,
    QUESTION,
    RATIO,
    RETAINED,
    SCHEMA,
    TOOL,
    is_sight,
    no_place_left,
    openai_messages,
)

CUT = {"keep_ratio": RATIO}
USER = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(endpoint):
    with openai.OpenAI(base_url=endpoint.v1, api_key=endpoint.key or "none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def create(client, endpoint):
    def asked(messages=None, **fields):
        messages = openai_messages() if messages is None else messages
        return client.chat.completions.create(
            model=endpoint.model, messages=messages, **{"max_tokens": 4, "temperature": 0, **fields}
        )

    return asked


def visual_tokens(usage):
    return {name: usage.prompt_tokens_details.visual_tokens[name] for name in ("original", "retained", "keep_ratio")}


def test_a_chat_and_its_usage(create):
    answer = create(extra_body=CUT)
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert visual_tokens(answer.usage) == {"original": ORIGINAL, "retained": RETAINED, "keep_ratio": RATIO}


def test_a_stream_says_the_same_and_counts_in_its_last_chunk(create):
    whole = create(extra_body=CUT)
    *chunks, last = create(extra_body=CUT, stream=True, stream_options={"include_usage": True})
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == whole.choices[0].message.content
    assert last.choices == []
    assert visual_tokens(last.usage) == visual_tokens(whole.usage)


def test_the_headers_say_it_too(client, endpoint):
    raw = client.chat.completions.with_raw_response.create(
        model=endpoint.model, messages=openai_messages(), max_tokens=1, extra_body=CUT
    )
    assert raw.headers["x-sppruner-visual-tokens-retained"] == str(RETAINED)


def test_the_stream_helper_ends_with_the_whole_completion(client, endpoint):
    with client.chat.completions.stream(
        model=endpoint.model,
        messages=openai_messages(),
        max_tokens=ENOUGH,
        extra_body={**CUT, "structured_outputs": {"choice": CHOICES}},
    ) as stream:
        kinds = {event.type for event in stream}
        assert "chunk" in kinds
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "stop"
    assert choice.message.content in CHOICES


def test_a_response_and_its_usage(client, endpoint):
    answer = client.responses.create(model=endpoint.model, input=QUESTION, max_output_tokens=16, temperature=0)
    assert answer.status in ("completed", "incomplete")
    assert answer.usage.output_tokens <= 16
    events = client.responses.create(
        model=endpoint.model, input=QUESTION, max_output_tokens=16, temperature=0, stream=True
    )
    assert [event.type for event in events][-1] in ("response.completed", "response.incomplete")


def test_a_tool_that_is_named_is_called_with_arguments_of_its_schema(create):
    choice = {"type": "function", "function": {"name": "look"}}
    answer = create(USER, tools=[TOOL], tool_choice=choice, max_tokens=FOR_A_CALL)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "look"
    assert is_sight(json.loads(call.function.arguments))
    turns = [*USER, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "a cat"}]
    assert create(turns, tools=[TOOL]).choices[0].message.role == "assistant"


def test_a_required_tool_is_called_in_a_stream(create):
    chunks = create(USER, tools=[TOOL], tool_choice="required", max_tokens=FOR_A_CALL, stream=True)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function.name] == ["look"]
    assert is_sight(json.loads("".join(call.function.arguments or "" for call in calls)))


def test_an_answer_keeps_to_a_json_schema(create):
    form = {"type": "json_schema", "json_schema": {"name": "sight", "schema": SCHEMA, "strict": True}}
    assert is_sight(json.loads(create(response_format=form, max_tokens=ENOUGH).choices[0].message.content))


def test_an_answer_is_one_of_the_choices(create):
    answer = create(extra_body={**CUT, "structured_outputs": {"choice": CHOICES}}, max_tokens=ENOUGH)
    assert answer.choices[0].message.content in CHOICES


def test_the_model_is_listed_and_retrieved(client, endpoint):
    assert [model.id for model in client.models.list()] == [endpoint.model]
    assert client.models.retrieve(endpoint.model).id == endpoint.model


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"extra_body": {"keep_ratio": 1.5}}, "invalid_keep_ratio", "keep_ratio"),
        ({"extra_body": {"keep_ratios": 0.5}}, "unknown_parameter", "keep_ratios"),
        ({"extra_body": {"temperature": "hot"}}, "invalid_value", "temperature"),
        ({"max_tokens": -1}, "invalid_value", "max_tokens"),
        ({"messages": [{"role": "user", "content": "x " * 20000}]}, "context_length_exceeded", "messages"),
    ],
)
def test_a_bad_request_has_a_class_a_code_and_a_param(create, fields, code, param):
    with pytest.raises(openai.BadRequestError) as caught:
        create(**fields)
    assert (caught.value.code, caught.value.param, caught.value.type) == (code, param, "invalid_request_error")
    assert caught.value.request_id


def test_an_unknown_model_has_a_class_and_a_code(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=USER)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_wrong_key_has_a_class_and_a_code(client, endpoint):
    if endpoint.key is None:
        pytest.skip("this server asks for no key")
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong").models.list()
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")


def test_a_full_server_is_asked_again_when_it_said(endpoint):
    if endpoint.places is None:
        pytest.skip("this server takes more requests than a test can hold")
    statuses = []
    with no_place_left(endpoint) as held:

        def note(response: httpx.Response) -> None:
            statuses.append((response.status_code, "retry-after" in response.headers))
            held.close()

        http = httpx.Client(event_hooks={"response": [note]})
        with openai.OpenAI(base_url=endpoint.v1, api_key=endpoint.key, max_retries=5, http_client=http) as client:
            client.chat.completions.create(model=endpoint.model, messages=USER, max_tokens=1)
    assert statuses[0] == (503, True)
    assert statuses[-1] == (200, False)


def test_a_full_server_that_stays_full_is_an_error_with_a_code(client, endpoint):
    if endpoint.places is None:
        pytest.skip("this server takes more requests than a test can hold")
    with no_place_left(endpoint), pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=endpoint.model, messages=USER, max_tokens=1)
    assert (caught.value.status_code, caught.value.code) == (503, "server_overloaded")
