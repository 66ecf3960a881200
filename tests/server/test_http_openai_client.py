"""OpenAI's own Python client, with `extra_body`."""

import openai
import pytest

from serving import MODEL_NAME, Server, chat_body, responses_body


@pytest.fixture(scope="module")
def openai_client(server: Server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def messages(picture):
    return chat_body(picture)["messages"]


def test_a_chat_takes_keep_ratio_and_gives_the_account_back(openai_client, picture):
    completion = openai_client.chat.completions.create(
        model=MODEL_NAME, messages=messages(picture), max_tokens=4, extra_body={"keep_ratio": 0.222}
    )
    assert completion.usage.prompt_tokens_details.visual_tokens["retained"] == 288


def test_a_chat_stream_gives_the_account_back_in_its_last_chunk(openai_client, picture):
    stream = openai_client.chat.completions.create(
        model=MODEL_NAME,
        messages=messages(picture),
        max_tokens=4,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"keep_ratio": 0.222},
    )
    *_, last = stream
    assert last.usage.prompt_tokens_details.visual_tokens["retained"] == 288


def test_a_response_takes_keep_ratio_and_gives_the_account_back(openai_client, picture):
    response = openai_client.responses.create(
        model=MODEL_NAME,
        input=responses_body(picture)["input"],
        max_output_tokens=4,
        extra_body={"keep_ratio": 0.222},
    )
    assert response.usage.input_tokens_details.visual_tokens["retained"] == 288


def test_a_bad_value_is_the_clients_own_error_class_with_all_parts(openai_client, picture):
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.chat.completions.create(
            model=MODEL_NAME, messages=messages(picture), extra_body={"keep_ratio": 1.5}
        )
    assert (caught.value.param, caught.value.code) == ("keep_ratio", "invalid_keep_ratio")
    assert caught.value.type == "invalid_request_error"
