"""Two replicas behind the shipped Envoy configuration: what passes through, what stays together, and what a loss costs.

The tests that end a replica come last; each brings up again what the one before ended.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest
from balancer import AFFINITY_HEADER, ENVOY, SHIPPED, Balancer
from replicas import EXIT_SECONDS, Replica, bring_up
from users import IMAGES, Traffic, load, picture

from serving import chat_body, eventually, narrow_client, sse_data, unread

CHAT = "/v1/chat/completions"
BEFORE, AFTER = 40, 80
"""Answers to have before a replica is ended, and requests to send afterwards."""


@pytest.fixture(scope="module")
def client(balancer: Balancer) -> Iterator[httpx.Client]:
    """A client of the balancer, in the place of that of one server."""
    with httpx.Client(base_url=balancer.url, timeout=120) as http:
        yield http


def served(replica: Replica) -> float:
    """Requests that a replica has finished."""
    return replica.metric("vllm:request_success_total")


def cached(replica: Replica) -> float:
    """Tokens of prompts that its prefix cache held."""
    return replica.metric("vllm:prefix_cache_hits_total")


def both_serve(pair: list[Replica], balancer: Balancer) -> None:
    """Bring up what an earlier test ended, and wait until Envoy uses it."""
    bring_up(pair)
    assert eventually(lambda: all(balancer.trusts(replica) for replica in pair))


def report(record, moment: float, traffic: Traffic, **figures: float) -> None:
    """Print and record what ending a replica cost."""
    after = traffic.sent_after(moment)
    failed = traffic.failed()
    figures |= {
        "requests": len(traffic.answers),
        "requests_sent_after": len(after),
        "failed": len(failed),
        "first_success_seconds": min(answer.done for answer in after if answer.problem is None) - moment,
        "last_failure_seconds": max((answer.done - moment for answer in failed), default=0.0),
        "slowest_before_seconds": max(answer.done - answer.sent for answer in traffic.answers if answer.done < moment),
        "slowest_after_seconds": max(answer.done - answer.sent for answer in after),
    }
    for name, value in figures.items():
        record(name, round(value, 3))
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def test_the_shipped_configuration_is_accepted_as_it_is_and_without_a_warning():
    command = [str(ENVOY), "--mode", "validate", "-c", str(SHIPPED), "--log-level", "warning"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr


def test_our_fields_our_usage_and_our_headers_pass(client):
    body = chat_body(picture(0)[0], keep_ratio=0.5, focus_query="the red sign")
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200
    usage = answer.json()["usage"]["prompt_tokens_details"]["visual_tokens"]
    assert (usage["original"], usage["retained"], usage["keep_ratio"]) == (144, 72, 0.5)
    assert answer.headers["x-sppruner-visual-tokens-original"] == "144"
    assert answer.headers["x-sppruner-visual-tokens-retained"] == "72"
    assert answer.headers["x-sppruner-method"] == usage["method"]


@pytest.mark.parametrize("field", [{"keep_ratio": 7}, {"keep_ratio": 0.5, "keep_tokens": 4}, {"focus_query": 1}])
def test_a_400_comes_back_unchanged(client, pair, field):
    body = chat_body(picture(0)[0], **field)
    through, direct = client.post(CHAT, json=body), httpx.post(f"{pair[0].url}{CHAT}", json=body)
    assert through.status_code == direct.status_code == 400
    assert through.json() == direct.json()
    assert through.json()["error"]["param"] in field


def test_a_stream_comes_while_it_is_made_and_leaving_it_ends_it(balancer, pair):
    def total(name: str, **labels: str) -> float:
        return sum(replica.metric(name, **labels) for replica in pair)

    assert eventually(lambda: total("sppruner_requests_in_flight") == 0)
    left = total("sppruner_requests_total", outcome="client_disconnect")
    with narrow_client(balancer.url) as reader, unread(reader, choices=8):  # its first piece has come
        assert total("sppruner_requests_in_flight") == 1
        assert total("sppruner_requests_total", outcome="client_disconnect") == left
    assert eventually(lambda: total("sppruner_requests_total", outcome="client_disconnect") == left + 1)
    assert eventually(lambda: total("vllm:num_requests_running") == 0)


def test_a_stream_ends_with_its_usage(client):
    body = chat_body(picture(1)[0], stream=True, stream_options={"include_usage": True}, keep_ratio=0.5)
    answer = client.post(CHAT, json=body)
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert sse_data(answer.text)[-1]["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == 72
    assert answer.headers["x-sppruner-visual-tokens-retained"] == "72"


def test_an_image_goes_to_one_replica_whose_prefix_cache_knows_it(client, pair):
    used = set()
    before = [(served(replica), cached(replica)) for replica in pair]
    for seed in range(100, 100 + IMAGES):
        image, affinity = picture(seed)
        for question in ("what is this", "where is it"):
            body = chat_body(image, text=question, keep_ratio=0.5, focus_query="sign")
            assert client.post(CHAT, json=body, headers={AFFINITY_HEADER: affinity}).status_code == 200
        after = [(served(replica), cached(replica)) for replica in pair]
        change = [(now[0] - then[0], now[1] - then[1]) for then, now in zip(before, after, strict=True)]
        (chosen,) = [index for index, (requests, _) in enumerate(change) if requests]
        assert change[chosen][0] == 2
        assert change[chosen][1] >= 64  # of the second question: two blocks of 32, most of the image's 72 tokens
        used.add(chosen)
        before = after
    assert used == {0, 1}


def test_the_id_of_a_request_is_one_from_end_to_end(client):
    headers = {"x-request-id": "asked-by-me.7"}
    answer = client.post(CHAT, json=chat_body(text="hello"), headers=headers)
    assert answer.json()["id"] == "chatcmpl-asked-by-me.7"
    assert answer.headers["x-request-id"] == "asked-by-me.7"
    refused = client.post("/v1/messages", json={}, headers=headers)
    assert refused.json()["request_id"] == refused.headers["request-id"] == "asked-by-me.7"
    assert client.post(CHAT, json=chat_body(text="hello")).headers["x-request-id"]


@pytest.mark.parametrize(
    "headers",
    [
        {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"},
        {"connection": "Upgrade", "upgrade": "websocket"},
        {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-max-retries": "0"},
    ],
    ids=["h2c", "websocket", "orders for Envoy"],
)
def test_headers_that_mean_something_to_envoy_change_nothing(client, headers):
    answer = client.post(CHAT, json=chat_body(text="hello", max_tokens=16, ignore_eos=True), headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_page_in_a_browser_is_let_in_by_nobody(client):
    asked = {"origin": "https://page.example", "access-control-request-method": "POST"}
    answer = client.options(CHAT, headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_replica_that_is_told_to_stop_loses_nothing(pair, balancer, record_property):
    both_serve(pair, balancer)
    leaving, staying = pair
    with load(balancer.url) as traffic:
        assert eventually(lambda: len(traffic.answers) >= BEFORE and balancer.in_flight(leaving) > 0)
        moment = time.monotonic()
        leaving.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: not balancer.trusts(leaving))
        out = time.monotonic() - moment
        assert leaving.process.wait(EXIT_SECONDS) == 0
        gone = time.monotonic() - moment
        assert eventually(lambda: len(traffic.sent_after(moment)) >= AFTER)
    report(record_property, moment, traffic, out_of_rotation_seconds=out, exit_seconds=gone)
    assert traffic.failed() == []
    assert served(staying) >= AFTER


def test_a_replica_that_comes_back_is_used_again(client, pair, balancer):
    both_serve(pair, balancer)
    before = [served(replica) for replica in pair]
    for seed in range(200, 200 + IMAGES):
        image, affinity = picture(seed)
        assert client.post(CHAT, json=chat_body(image), headers={AFFINITY_HEADER: affinity}).status_code == 200
    assert all(served(replica) > then for replica, then in zip(pair, before, strict=True))


def test_a_replica_that_is_lost_costs_at_most_the_answers_it_had_begun(pair, balancer, record_property):
    both_serve(pair, balancer)
    lost = pair[1]
    saved = balancer.counter("upstream_rq_retry_success")
    with load(balancer.url) as traffic:
        assert eventually(lambda: len(traffic.answers) >= BEFORE and served(pair[0]) > 0)
        assert eventually(lambda: balancer.in_flight(lost) >= 2)
        moment = time.monotonic()
        lost.signal_all(signal.SIGSTOP)  # from here on it says nothing, so that what it had in flight can be counted
        in_flight = balancer.in_flight(lost)
        lost.kill()
        dead = time.monotonic() - moment
        assert eventually(lambda: not balancer.trusts(lost))
        out = time.monotonic() - moment
        assert eventually(lambda: len(traffic.sent_after(moment)) >= AFTER)
    report(record_property, moment, traffic, dead_seconds=dead, out_of_rotation_seconds=out, in_flight=in_flight)
    failed = traffic.failed()
    assert len(failed) <= in_flight
    assert all(answer.began and answer.sent < moment for answer in failed), failed
    # One thread writes the answers of a replica: at its end one of them may have its head out and not yet its body.
    assert sum(not answer.streamed for answer in failed) <= 1, failed
    assert balancer.counter("upstream_rq_retry_success") > saved


def test_without_any_replica_the_answer_is_a_503_to_try_again(client, pair, balancer):
    for replica in pair:
        replica.kill()
    assert eventually(lambda: not any(balancer.trusts(replica) for replica in pair))
    answer = client.post(CHAT, json=chat_body(text="hello"))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_overloaded"
    assert int(answer.headers["retry-after"]) > 0
    assert eventually(lambda: client.get("/health").status_code == 503)
