"""vLLM's responses, completed."""

import asyncio
import json

from fastapi.responses import JSONResponse, Response, StreamingResponse
from sppruner_server import headers
from sppruner_server.request.record import RequestRecord
from sppruner_server.routes.answers import CHAT, complete

from sppruner_vllm.planning.accounting import VisualTokens

TOKENS = VisualTokens(64, 32, 0.5, "uniform", None)
USAGE = {"prompt_tokens": 40, "prompt_tokens_details": None}


def test_a_json_answer_gets_usage_headers_and_a_matching_length():
    response = JSONResponse({"usage": USAGE}, headers={"x-kept": "yes"})
    complete(response, RequestRecord(accounts=[TOKENS]), CHAT)
    assert json.loads(response.body)["usage"]["prompt_tokens_details"]["visual_tokens"] == TOKENS.as_usage()
    assert int(response.headers["content-length"]) == len(response.body)
    assert response.headers[headers.RETAINED] == "32"
    assert response.headers["x-kept"] == "yes"


def test_an_answer_to_a_request_without_images_is_left_alone():
    response = JSONResponse({"usage": USAGE})
    before = response.body
    complete(response, RequestRecord(), CHAT)
    assert response.body == before
    assert headers.RETAINED not in response.headers


def test_an_error_answer_is_left_alone():
    response = JSONResponse({"error": {"message": "too long"}}, status_code=400)
    complete(response, RequestRecord(accounts=[TOKENS]), CHAT)
    assert headers.RETAINED not in response.headers


def test_a_client_that_left_before_the_answer_is_noted():
    record = RequestRecord()
    assert complete(None, record, CHAT) is None
    assert record.outcome == "client_disconnect"


def test_an_empty_answer_means_that_the_client_left_too():
    """As vLLM returns it from 0.33 on."""
    record, nothing = RequestRecord(accounts=[TOKENS]), Response()
    assert complete(nothing, record, CHAT) is nothing
    assert record.outcome == "client_disconnect"


def test_a_stream_gets_headers_and_its_usage():
    response = StreamingResponse(pieces('data: {"choices":[],"usage":{"prompt_tokens":40}}\n\n', "data: [DONE]\n\n"))
    complete(response, RequestRecord(accounts=[TOKENS]), CHAT)
    sent = asyncio.run(collect(response))
    assert response.headers[headers.ORIGINAL] == "64"
    assert '"visual_tokens":{"original":64' in sent[0]
    assert sent[1] == "data: [DONE]\n\n"


def test_a_client_that_leaves_a_stream_closes_vllms_generator_at_once():
    closed = []

    async def endless():
        try:
            while True:
                yield "data: {}\n\n"
        finally:
            closed.append(True)

    async def leave_after_one():
        response = StreamingResponse(endless())
        complete(response, RequestRecord(), CHAT)
        body = response.body_iterator
        await anext(body)
        await body.aclose()

    asyncio.run(leave_after_one())
    assert closed == [True]


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


async def collect(response):
    return [chunk async for chunk in response.body_iterator]
