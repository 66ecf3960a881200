"""Pydantic AI's agents."""

from __future__ import annotations

import asyncio
from enum import Enum

import pydantic
import pydantic_ai
import pytest
from asked import ENOUGH, FOR_A_CALL, QUESTION, RATIO, RETAINED, picture
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ImageUrl
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Animal(Enum):
    CAT = "cat"
    DOG = "dog"


class Sight(pydantic.BaseModel):
    seen: Animal
    sure: bool


def run(make):
    """One agent in one event loop: the client's connections belong to it."""
    return asyncio.run(make())


@pytest.fixture(scope="module")
def agent(endpoint):
    def made(extra=None, tokens=4, **fields):
        provider = OpenAIProvider(base_url=endpoint.v1, api_key=endpoint.key or "none")
        settings = {"max_tokens": tokens, "temperature": 0.0, "extra_body": extra or {}}
        return pydantic_ai.Agent(OpenAIChatModel(endpoint.model, provider=provider), model_settings=settings, **fields)

    return made


def test_a_run_and_its_usage(agent):
    counted = [
        run(lambda ratio=ratio: agent({"keep_ratio": ratio}).run([QUESTION, ImageUrl(picture())])).usage
        for ratio in (1.0, RATIO)
    ]
    whole, less = (usage() if callable(usage) else usage for usage in counted)
    assert whole.input_tokens - less.input_tokens == 64 - RETAINED
    assert 0 < less.output_tokens <= 4


def test_a_stream_says_what_the_run_says(agent):
    whole = run(lambda: agent({"keep_ratio": RATIO}).run([QUESTION, ImageUrl(picture())])).output

    async def streamed():
        async with agent({"keep_ratio": RATIO}).run_stream([QUESTION, ImageUrl(picture())]) as result:
            return "".join([piece async for piece in result.stream_text(delta=True)])

    assert run(streamed) == whole


def test_an_answer_keeps_to_a_model_by_json_schema(agent):
    made = agent(tokens=ENOUGH, output_type=pydantic_ai.NativeOutput(Sight))
    assert isinstance(run(lambda: made.run(QUESTION)).output, Sight)


def test_an_answer_keeps_to_a_model_by_a_tool(agent):
    made = agent(tokens=FOR_A_CALL, output_type=pydantic_ai.ToolOutput(Sight, strict=True))
    assert isinstance(run(lambda: made.run(QUESTION)).output, Sight)


def test_a_bad_request_has_a_class_a_code_and_a_param(agent):
    with pytest.raises(ModelHTTPError) as caught:
        run(lambda: agent({"keep_ratio": 1.5}).run(QUESTION))
    assert caught.value.status_code == 400
    assert (caught.value.body["code"], caught.value.body["param"]) == ("invalid_keep_ratio", "keep_ratio")
