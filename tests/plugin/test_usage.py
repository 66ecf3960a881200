"""What is added to usage, and what is left alone."""

import json

import pytest
from sppruner_server.routes.usage import (
    annotate_chat,
    annotate_chat_event,
    annotate_response,
    annotate_response_event,
    annotate_sse,
)

from sppruner_vllm.planning.accounting import VisualTokens

TOKENS = VisualTokens(
    original=1296, retained=288, keep_ratio=0.222, method="focus_context", skipped_reason=None, scopes=("question",)
)
ACCOUNT = {
    "original": 1296,
    "retained": 288,
    "keep_ratio": 0.222,
    "method": "focus_context",
    "skipped_reason": None,
    "focus_scope": "question",
}


def sse(document: dict[str, object], event: str | None = None) -> str:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(document, separators=(',', ':'))}\n\n"


def data_of(event: str) -> dict[str, object]:
    return json.loads(event.partition("data: ")[2])


def test_a_chat_body_gets_the_account_beside_what_vllm_says():
    body = {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3}}}
    assert annotate_chat(body, TOKENS)
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 3, "visual_tokens": ACCOUNT}


def test_a_chat_body_whose_details_are_null_gets_the_account_alone():
    body = {"usage": {"prompt_tokens": 9, "prompt_tokens_details": None}}
    assert annotate_chat(body, TOKENS)
    assert body["usage"]["prompt_tokens_details"] == {"visual_tokens": ACCOUNT}


@pytest.mark.parametrize("body", [{}, {"usage": None}, {"error": {"message": "no"}}])
def test_a_body_without_usage_is_left_alone(body):
    before = json.dumps(body)
    assert not annotate_chat(body, TOKENS)
    assert json.dumps(body) == before


def test_a_response_body_gets_the_account_in_its_input_details():
    body = {"usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}}}
    assert annotate_response(body, TOKENS)
    assert body["usage"]["input_tokens_details"]["visual_tokens"] == ACCOUNT


def test_the_final_usage_chunk_of_a_chat_stream_is_completed():
    chunk = sse({"choices": [], "usage": {"prompt_tokens": 9}})
    rewritten = annotate_sse(chunk, TOKENS, annotate_chat_event)
    assert data_of(rewritten) == {
        "choices": [],
        "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"visual_tokens": ACCOUNT}},
    }
    assert rewritten.endswith("\n\n")


@pytest.mark.parametrize(
    "chunk",
    [
        sse({"choices": [{"delta": {"content": "a"}}]}),
        sse({"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 9}}),
        sse({"choices": [{"delta": {"content": '"usage":{"prompt_tokens":1}'}}]}),
        sse({"choices": [], "usage": None}),
        "data: [DONE]\n\n",
        ": keep-alive\n\n",
        'data: {"choices":[],"usage":{"cut in',
    ],
    ids=["content", "running usage", "text that looks like usage", "null usage", "done", "keep-alive", "cut"],
)
def test_other_pieces_of_a_chat_stream_pass_through_unchanged(chunk):
    assert annotate_sse(chunk, TOKENS, annotate_chat_event) == chunk


def test_bytes_stay_bytes():
    chunk = sse({"choices": [], "usage": {"prompt_tokens": 9}}).encode()
    rewritten = annotate_sse(chunk, TOKENS, annotate_chat_event)
    assert data_of(rewritten.decode())["usage"]["prompt_tokens_details"]["visual_tokens"] == ACCOUNT


def test_several_events_in_one_piece_keep_their_order():
    content = sse({"choices": [{"delta": {"content": "a"}}]})
    piece = content + sse({"choices": [], "usage": {"prompt_tokens": 9}}) + "data: [DONE]\n\n"
    rewritten = annotate_sse(piece, TOKENS, annotate_chat_event)
    assert rewritten.startswith(content)
    assert '"visual_tokens"' in rewritten
    assert rewritten.endswith("\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("name", ["response.completed", "response.incomplete"])
def test_the_event_that_ends_a_response_is_completed(name):
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}}
    event = sse({"type": name, "response": {"usage": usage}}, name)
    rewritten = annotate_sse(event, TOKENS, annotate_response_event)
    assert rewritten.startswith(f"event: {name}\ndata: ")
    assert data_of(rewritten)["response"]["usage"]["input_tokens_details"]["visual_tokens"] == ACCOUNT


def test_an_event_that_does_not_end_a_response_is_left_alone():
    event = sse({"type": "response.in_progress", "response": {"usage": {"input_tokens": 9}}}, "response.in_progress")
    assert annotate_sse(event, TOKENS, annotate_response_event) == event
