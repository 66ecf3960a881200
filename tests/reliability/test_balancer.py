"""What the shipped Envoy configuration answers by itself: in the words of the server, within the server's limits."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from balancer import Balancer, balanced, monitor, shipped

from api_errors import error_in
from serving import WAIT_SECONDS, eventually
from sppruner_vllm.settings import Settings

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
MIB = 2**20
OWN_ID = "asked-by-me.7"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Envoy without a replica: every answer is its own."""
    with balanced([], tmp_path_factory.mktemp("envoy")) as running:
        yield running


def ask(
    balancer: Balancer, method: str, target: str, size: int = 0, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request whose target goes out as it is written."""
    connection = http.client.HTTPConnection(urlsplit(balancer.url).netloc, timeout=WAIT_SECONDS)
    try:
        connection.request(method, target, bytes(size), {"x-request-id": OWN_ID, **headers})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


REFUSED = {
    "no replica": ("POST", "", 2, 503, "server_overloaded"),
    "a body that is too large": ("POST", "", 32 * MIB + 1, 413, "request_too_large"),
    "a path that is none": ("GET", "/..%2f..%2fmetrics", 0, 400, "invalid_http"),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("name", REFUSED)
def test_what_it_refuses_has_the_words_and_the_shape_of_the_api(alone: Balancer, name: str, path: str) -> None:
    method, more, size, status, code = REFUSED[name]
    answered, headers, content = ask(alone, method, path + more, size)
    assert (answered, headers["content-type"]) == (status, "application/json")
    assert error_in(path, status, content)["code"] == code
    assert headers["x-request-id"] == OWN_ID
    assert ("retry-after" in headers) == (status == 503)
    if path == MESSAGES:
        assert headers["request-id"] == json.loads(content)["request_id"] == OWN_ID


def test_it_tells_nothing_of_the_replicas(alone: Balancer) -> None:
    _, _, content = ask(alone, "POST", CHAT, 2)
    assert not [word for word in (b"upstream", b"connect", b"127.0.0.1", b"healthy") if word in content]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_head_that_is_too_long_is_told_so(alone: Balancer, path: str) -> None:
    status, headers, content = ask(alone, "GET", path, x="a" * 70_000)
    assert (status, headers["connection"]) == (431, "close")
    assert json.loads(content)["error"]["code"] == "head_too_large"


OTHERS = [
    "/",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/tokenize",
    "/invocations",
    "/scale_elastic_ep",
    "/v1",
    "/v1/../metrics",
    "/v1/%2e%2e/metrics",
    "/v1/x/../../metrics",
    "/V1/models",
    "//v1/models",
    "/health/../metrics",
    "/healthz",
    "/livez/x",
]


@pytest.mark.parametrize("target", OTHERS)
def test_nothing_but_the_api_is_passed_on(alone: Balancer, target: str) -> None:
    status, headers, content = ask(alone, "GET", target)
    assert error_in(target, status, content)["code"] == "unknown_url"
    assert headers["x-request-id"] == OWN_ID


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "status"), [("/livez", 200), ("/readyz", 503), ("/health", 503), ("/health?a=b", 503)]
)
def test_it_has_probes_of_its_own(alone: Balancer, method: str, target: str, status: int) -> None:
    assert ask(alone, method, target)[0] == status


def test_a_balancer_that_is_out_of_memory_says_when_to_come_again(tmp_path) -> None:
    with balanced([], tmp_path, heap=1) as full:
        assert eventually(lambda: httpx.get(f"{full.url}/livez").status_code == 503)
        for path in (CHAT, MESSAGES):
            status, headers, content = ask(full, "POST", path, 2)
            assert error_in(path, status, content)["code"] == "server_overloaded"
            assert int(headers["retry-after"]) > 0


def manager() -> dict[str, Any]:
    """Its HTTP connection manager."""
    (listener,) = shipped()["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    (found,) = [entry["typed_config"] for entry in chain["filters"]]
    typed: dict[str, Any] = found
    return typed


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_every_answer_of_its_own_is_in_the_table_of_codes() -> None:
    mappers = manager()["local_reply_config"]["mappers"]
    codes = set()
    for mapper in mappers:
        filters = mapper["filter"].get("and_filter", {"filters": [mapper["filter"]]})["filters"]
        compared = filters[-1]["status_code_filter"]["comparison"]["value"]["default_value"]
        status = mapper.get("status_code", compared)
        body = mapper["body_format_override"]["json_format"]
        error_in(MESSAGES if len(filters) == 2 else CHAT, status, json.dumps(body).encode())
        codes.add((len(filters), body["error"]["code"]))
    assert len(codes) == len(mappers)
    assert {code for filters, code in codes if filters == 1} == {code for filters, code in codes if filters == 2}


def test_its_limits_are_the_servers() -> None:
    chosen, connections = Settings(), manager()
    assert seconds(connections["request_headers_timeout"]) == chosen.header_timeout
    assert seconds(connections["request_timeout"]) > chosen.body_timeout
    assert seconds(connections["stream_flush_timeout"]) == chosen.write_timeout
    (buffer,) = [
        entry["typed_config"] for entry in connections["http_filters"] if entry["name"].endswith("http.buffer")
    ]
    assert buffer["max_request_bytes"] == chosen.max_body_mib * MIB
    (host,) = connections["route_config"]["virtual_hosts"]
    assert host["request_body_buffer_limit"] == buffer["max_request_bytes"]
    heap = monitor(shipped(), "fixed_heap")["max_heap_size_bytes"]
    assert heap >= 2 * chosen.max_bodies_mib * MIB
