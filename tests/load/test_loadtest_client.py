"""The client alone, without Locust: connections, refusals, broken streams."""

from __future__ import annotations

import time
from contextlib import closing

from loadtest.client import ChatClient
from loadtest_server import chat_server

BODY = {"messages": [{"role": "user", "content": "hello"}], "note": "x" * 300_000}


def test_an_answer_is_read_to_the_end_and_the_connection_used_again():
    with chat_server(tokens=5) as server, closing(ChatClient(server.url)) as client:
        answers = [client.ask(BODY)[1] for _ in range(3)]
    assert [answer.error for answer in answers] == [None] * 3
    assert [answer.usage.output_tokens for answer in answers] == [5] * 3
    assert len(set(server.callers)) == 1
    assert server.bodies == [BODY] * 3


def test_times_follow_the_stream():
    with chat_server(tokens=3, pause=0.05) as server, closing(ChatClient(server.url)) as client:
        sent_at, answer = client.ask(BODY)
    # A client that was kept from the processor finds all tokens at once, and rightly gives them one time.
    assert 0.05 <= answer.ttft_s <= answer.end_s <= time.perf_counter() - sent_at
    assert len(answer.gaps_s) == 2


def test_a_connection_that_the_server_gave_up_is_opened_again():
    with chat_server(hangs_up=True) as server, closing(ChatClient(server.url)) as client:
        assert client.ask(BODY)[1].error is None
        assert server.hung_up.wait(120)
        assert client.ask(BODY)[1].error is None
    assert len(set(server.callers)) == 2


def test_a_refusal_names_its_status_and_message_and_keeps_the_connection():
    with chat_server(fault="refuse") as server, closing(ChatClient(server.url)) as client:
        assert [client.ask(BODY)[1].error for _ in range(2)] == ["HTTP 503: no room"] * 2
    assert len(set(server.callers)) == 1


def test_a_stream_that_breaks_off_is_an_error_and_the_next_request_is_not_harmed():
    with chat_server(fault="cut") as server, closing(ChatClient(server.url)) as client:
        assert client.ask(BODY)[1].error
        server.fault = None
        assert client.ask(BODY)[1].error is None


def test_a_path_before_the_api_and_the_key_are_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with chat_server() as server, closing(ChatClient(f"{server.url}/proxy/")) as client:
        assert client.ask(BODY)[1].error is None
    assert server.paths == ["/proxy/v1/chat/completions"]
    assert server.keys == ["Bearer secret"]


def test_nobody_there_is_an_error():
    assert ChatClient("http://127.0.0.1:9").ask(BODY)[1].error.startswith("ConnectionRefusedError")
