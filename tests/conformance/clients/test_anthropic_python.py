"""Anthropic's Python client, on /v1/messages."""

from __future__ import annotations

import anthropic
import pytest
from asked import FOR_A_CALL, ORIGINAL, QUESTION, RATIO, RETAINED, SCHEMA, is_sight, no_place_left, picture

CUT = {"keep_ratio": RATIO}
USER = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(endpoint):
    with anthropic.Anthropic(base_url=endpoint.url, api_key=endpoint.key or "none", max_retries=0) as made:
        yield made


def seen():
    source = {"type": "base64", "media_type": "image/png", "data": picture().partition(",")[2]}
    return [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]}]


def prompt_tokens(message):
    """All of the prompt: `input_tokens` leaves out what was found in the cache, and what was put there."""
    usage = message.usage
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


def test_a_message_and_its_usage(client, endpoint):
    whole = client.messages.create(model=endpoint.model, messages=seen(), max_tokens=4)
    raw = client.messages.with_raw_response.create(model=endpoint.model, messages=seen(), max_tokens=4, extra_body=CUT)
    less = raw.parse()
    assert less.content[0].type == "text"
    assert prompt_tokens(whole) - prompt_tokens(less) == ORIGINAL - RETAINED
    assert raw.headers["x-sppruner-visual-tokens-retained"] == str(RETAINED)


def test_a_stream_ends_with_the_whole_message(client, endpoint):
    fields = {"model": endpoint.model, "messages": seen(), "max_tokens": 4, "extra_body": CUT}
    with client.messages.stream(**fields) as stream:
        said = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert message.content[0].text == said
    assert message.usage.output_tokens <= 4
    assert message.stop_reason in ("end_turn", "max_tokens")


def test_tokens_are_counted_as_the_message_has_them(client, endpoint):
    counted = client.messages.count_tokens(model=endpoint.model, messages=seen(), extra_body=CUT)
    answer = client.messages.create(model=endpoint.model, messages=seen(), max_tokens=1, extra_body=CUT)
    assert counted.input_tokens == prompt_tokens(answer)


def test_a_tool_that_is_named_is_called_with_input_of_its_schema(client, endpoint):
    tool = {"name": "look", "description": "looks", "input_schema": SCHEMA, "strict": True}
    fields = {"model": endpoint.model, "max_tokens": FOR_A_CALL, "tools": [tool]}
    answer = client.messages.create(messages=USER, tool_choice={"type": "tool", "name": "look"}, **fields)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert is_sight(call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "a cat"}
    turns = [*USER, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(messages=turns, **fields).role == "assistant"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"extra_body": {"keep_ratio": 1.5}}, "invalid_keep_ratio", "keep_ratio"),
        ({"extra_body": {"max_tokens": None}}, "invalid_value", "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "invalid_image", "source"),
    ],
)
def test_a_bad_request_has_a_class_a_type_and_a_code(client, endpoint, fields, code, param):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**{"model": endpoint.model, "messages": USER, "max_tokens": 4, **fields})
    error = caught.value.body["error"]
    assert caught.value.body["type"] == "error"
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["param"].endswith(param)


def test_an_unknown_model_has_a_class_and_a_type(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="nobody", messages=USER, max_tokens=1)
    assert caught.value.body["error"]["type"] == "not_found_error"


def test_a_wrong_key_has_a_class_and_a_type(client, endpoint):
    if endpoint.key is None:
        pytest.skip("this server asks for no key")
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client.with_options(api_key="wrong").messages.create(model=endpoint.model, messages=USER, max_tokens=1)
    assert caught.value.body["error"]["type"] == "authentication_error"


def test_a_full_server_is_asked_again_when_it_said(endpoint):
    if endpoint.places is None:
        pytest.skip("this server takes more requests than a test can hold")
    statuses = []
    with no_place_left(endpoint) as held:

        def note(response) -> None:
            statuses.append((response.status_code, "retry-after" in response.headers))
            held.close()

        http = anthropic.DefaultHttpxClient(event_hooks={"response": [note]})
        with anthropic.Anthropic(
            base_url=endpoint.url, api_key=endpoint.key, max_retries=5, http_client=http
        ) as client:
            client.messages.create(model=endpoint.model, messages=USER, max_tokens=1)
    assert statuses[0] == (503, True)
    assert statuses[-1] == (200, False)
