"""The gate that a stopping server closes: what is inside is waited for, what comes later goes elsewhere."""

from __future__ import annotations

import asyncio
import threading

import httpx
from sppruner_server.drain import DrainMiddleware, InFlight
from sppruner_server.hooks import install_drain


class Engine:
    """An engine client that notes how long its shutdown may take."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def shutdown(self, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)


def shutdown_elsewhere(engine: Engine, timeout: float) -> threading.Thread:
    """Begin a shutdown as vLLM does after a signal: outside the event loop's thread."""
    thread = threading.Thread(target=engine.shutdown, kwargs={"timeout": timeout})
    thread.start()
    return thread


async def get(requests: InFlight, path: str) -> httpx.Response:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    transport = httpx.ASGITransport(DrainMiddleware(app, requests))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get(path)


def test_the_engine_stops_only_when_the_last_request_has_left():
    requests, engine = InFlight(), Engine()
    install_drain(engine, requests)
    assert requests.enter()
    stopping = shutdown_elsewhere(engine, 60)
    while requests.enter():  # until it is closed
        requests.leave()
    assert engine.timeouts == []
    requests.leave()
    stopping.join(60)
    assert len(engine.timeouts) == 1
    assert 0 < engine.timeouts[0] < 60


def test_a_request_that_takes_too_long_is_not_waited_for_any_longer():
    requests, engine = InFlight(), Engine()
    install_drain(engine, requests)
    assert requests.enter()
    shutdown_elsewhere(engine, 0.01).join(60)
    assert engine.timeouts == [0]


def test_without_a_drain_time_nothing_is_waited_for():
    requests, engine = InFlight(), Engine()
    install_drain(engine, requests)
    assert requests.enter()
    shutdown_elsewhere(engine, 0).join(60)
    assert engine.timeouts == [0]


def test_the_event_loops_own_thread_never_waits():
    requests, engine = InFlight(), Engine()
    install_drain(engine, requests)
    assert requests.enter()
    engine.shutdown(timeout=30)
    assert engine.timeouts == [30]


def test_a_closed_gate_refuses_with_a_503_that_says_to_go_elsewhere():
    requests = InFlight()
    assert asyncio.run(get(requests, "/health")).status_code == 200
    requests.close()
    answer = asyncio.run(get(requests, "/health"))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "shutting_down"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-envoy-immediate-health-check-fail"] == "true"


def test_metrics_stay_readable_during_a_drain():
    requests = InFlight()
    requests.close()
    assert asyncio.run(get(requests, "/metrics")).status_code == 200


def test_an_answer_that_fails_leaves_the_gate_too():
    requests = InFlight()

    async def app(scope, receive, send) -> None:
        raise ValueError("no answer")

    async def ask() -> None:
        transport = httpx.ASGITransport(DrainMiddleware(app, requests), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await client.get("/v1/models")

    asyncio.run(ask())
    assert requests.wait_until_empty(0)
