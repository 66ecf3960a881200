"""What /metrics of a real server says after a request."""

import httpx
import pytest

from serving import chat_body, eventually, metric, responses_body

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
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222))
    names = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE ")}
    assert {"vllm:prompt_tokens_total", "vllm:time_to_first_token_seconds"} <= names
    assert {
        "sppruner_visual_tokens_original_total",
        "sppruner_visual_tokens_retained_total",
        "sppruner_retained_ratio",
        "sppruner_retained_tokens",
        "sppruner_selection_seconds",
        "sppruner_requests_total",
    } <= names


def test_token_counters_move_by_what_the_usage_says(client, picture, growth):
    names = "sppruner_visual_tokens_original_total", "sppruner_visual_tokens_retained_total"
    [growth(name) for name in names]
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222))
    assert [growth(name) for name in names] == [1296, 288]


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


def test_a_client_that_leaves_before_the_answer_is_counted(client, growth):
    growth("sppruner_requests_total", outcome="client_disconnect")
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=chat_body(**LONG), timeout=1)
    assert eventually(lambda: growth("sppruner_requests_total", outcome="client_disconnect") == 1)
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)
