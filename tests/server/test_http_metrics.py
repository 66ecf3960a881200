"""What /metrics of a real server says after a request."""

import json
from contextlib import closing
from http.client import HTTPConnection

import pytest
from anthropic_bodies import count_body, messages_body

from serving import chat_body, data_url, eventually, metric, png, responses_body

TOKENS = "sppruner_visual_tokens_original_total", "sppruner_visual_tokens_retained_total"
LONG = {"max_tokens": 3000, "ignore_eos": True}


@pytest.fixture
def growth(client):
    """How much samples have grown since the test began; name them at the start by calling it once."""
    before: dict[tuple[str, ...], float] = {}

    def of(name: str, **labels: str) -> float:
        key = (name, *sorted(labels.values()))
        now = metric(client, name, **labels)
        return now - before.setdefault(key, now)

    return of


def test_vllms_families_and_ours_are_there(client, picture):
    for ratio in (0.222, 1):
        client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=ratio))
    names = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE ")}
    assert {"vllm:prompt_tokens_total", "vllm:time_to_first_token_seconds"} <= names
    assert {
        "sppruner_visual_tokens_original_total",
        "sppruner_visual_tokens_retained_total",
        "sppruner_retained_ratio",
        "sppruner_retained_tokens",
        "sppruner_selection_seconds",
        "sppruner_skipped_total",
        "sppruner_requests_total",
    } <= names


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("/v1/chat/completions", chat_body),
        ("/v1/chat/completions", lambda picture, **fields: chat_body(picture, stream=True, **fields)),
        ("/v1/responses", responses_body),
        ("/v1/messages", messages_body),
    ],
    ids=["chat", "chat stream", "response", "message"],
)
def test_token_counters_move_once_by_what_the_request_had_and_kept(client, picture, growth, path, make):
    [growth(name) for name in (*TOKENS, "sppruner_retained_ratio_count", "sppruner_requests_total")]
    client.post(path, json=make(picture, keep_ratio=0.222))
    assert eventually(lambda: growth("sppruner_requests_total") == 1)
    assert [growth(name) for name in TOKENS] == [1296, 288]
    assert growth("sppruner_retained_ratio_count") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat_body(*[data_url(png(1008, 1008, seed=8))] * 4)),
        ("/v1/chat/completions", chat_body(data_url(png(112, 112)), stream=True, logit_bias={"99999999": 1})),
        ("/v1/messages/count_tokens", count_body(data_url(png(112, 112)))),
        ("/tokenize", chat_body(data_url(png(112, 112)))),
    ],
    ids=["too long", "refused in its stream", "counted", "tokenized"],
)
def test_an_image_that_the_engine_did_not_get_moves_no_token_counter(client, growth, path, body):
    [growth(name) for name in (*TOKENS, "sppruner_skipped_total", "sppruner_requests_total")]
    client.post(path, json=body)
    client.post("/v1/chat/completions", json=chat_body())  # counted after it, whether it was counted or not
    assert eventually(lambda: growth("sppruner_requests_total") == (1 if path == "/tokenize" else 2))
    assert [growth(name) for name in (*TOKENS, "sppruner_skipped_total")] == [0, 0, 0]


def test_a_request_of_which_nothing_was_reduced_is_counted_with_its_reason(client, picture, growth):
    growth("sppruner_skipped_total", reason="keep_ratio_is_1")
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=1))
    assert eventually(lambda: growth("sppruner_skipped_total", reason="keep_ratio_is_1") == 1)


def test_the_selection_is_timed_in_the_worker_process(client, picture, growth):
    growth("sppruner_selection_seconds_count")
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.111))
    assert eventually(lambda: growth("sppruner_selection_seconds_count") >= 1)


@pytest.mark.parametrize(
    ("path", "body", "outcome"),
    [
        ("/v1/chat/completions", chat_body(), "success"),
        ("/v1/chat/completions", chat_body(stream=True), "success"),
        ("/v1/responses", responses_body(), "success"),
        ("/v1/responses", responses_body(stream=True), "success"),
        ("/v1/chat/completions", chat_body(keep_ratio=7), "client_error"),
        ("/v1/chat/completions", chat_body(model="no-such-model"), "client_error"),
        ("/v1/chat/completions", {"model": "tiny"}, "client_error"),
        ("/v1/responses", responses_body(keep_ratio=7), "client_error"),
    ],
    ids=["chat", "chat stream", "response", "response stream", "field", "model", "schema", "response field"],
)
def test_a_request_is_counted_once_by_its_outcome(client, growth, path, body, outcome):
    growth("sppruner_requests_total")
    growth("sppruner_requests_total", outcome=outcome)
    client.post(path, json=body)
    assert eventually(lambda: growth("sppruner_requests_total", outcome=outcome) == 1)
    assert growth("sppruner_requests_total") == 1


def test_a_client_that_leaves_a_stream_is_counted_and_frees_the_engine(client, growth):
    growth("sppruner_requests_total", outcome="client_disconnect")
    with client.stream("POST", "/v1/chat/completions", json=chat_body(stream=True, **LONG)) as response:
        next(response.iter_text())
    assert eventually(lambda: growth("sppruner_requests_total", outcome="client_disconnect") == 1)
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)


def test_a_client_that_leaves_before_the_answer_is_counted(server, client, growth):
    growth("sppruner_requests_total", outcome="client_disconnect")
    with closing(HTTPConnection(server.url.removeprefix("http://"))) as connection:
        body = json.dumps(chat_body(**LONG))
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    assert eventually(lambda: growth("sppruner_requests_total", outcome="client_disconnect") == 1)
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)
