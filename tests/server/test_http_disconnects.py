"""A hundred clients that leave while the engine has their requests: all are counted, and nothing of them stays."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from http.client import HTTPConnection

from serving import chat_body, data_url, eventually, frozen, metric, png

CLIENTS = 100


def test_a_hundred_clients_that_leave_are_counted_and_free_everything(server, client):
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    left = metric(client, "sppruner_requests_total", outcome="client_disconnect")
    pictures = [data_url(png(112, 112, seed=seed)) for seed in range(5)]
    with frozen(server):  # nobody is answered before everybody has left
        with ExitStack() as connections:
            for number in range(CLIENTS):
                fields = {"max_tokens": 200, "ignore_eos": True, "stream": number % 2 == 0, "keep_ratio": 0.5}
                body = chat_body(pictures[number % 5], text=f"question {number}", **fields)
                connection = connections.enter_context(closing(HTTPConnection(server.url.removeprefix("http://"))))
                connection.request(
                    "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"}
                )
            assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == CLIENTS)
        assert eventually(
            lambda: metric(client, "sppruner_requests_total", outcome="client_disconnect") == left + CLIENTS
        )
        assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    assert client.post("/v1/chat/completions", json=chat_body(pictures[0])).status_code == 200
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)
    assert eventually(lambda: metric(client, "vllm:kv_cache_usage_perc") == 0)
