"""The gate that a stopping server closes: what is inside is waited for, what comes later goes elsewhere."""

from __future__ import annotations

import asyncio

import httpx
from sppruner_server.drain import SHUTTING_DOWN, InFlight
from sppruner_server.middleware.drain import DrainMiddleware


async def get(requests: InFlight, path: str) -> httpx.Response:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    transport = httpx.ASGITransport(DrainMiddleware(app, requests))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get(path)


def test_a_closed_gate_refuses_with_a_503_that_says_to_go_elsewhere():
    requests = InFlight()
    assert asyncio.run(get(requests, "/health")).status_code == 200
    requests.close(SHUTTING_DOWN)
    answer = asyncio.run(get(requests, "/health"))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "shutting_down"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-envoy-immediate-health-check-fail"] == "true"


def test_metrics_and_the_sign_of_life_stay_readable_during_a_drain():
    requests = InFlight()
    requests.close(SHUTTING_DOWN)
    assert [asyncio.run(get(requests, path)).status_code for path in ("/metrics", "/livez")] == [200, 200]


def test_what_is_in_flight_is_waited_for():
    async def wait() -> None:
        requests = InFlight()
        assert requests.enter() is None
        assert requests.enter() is None
        requests.close(SHUTTING_DOWN)
        waiting = asyncio.create_task(requests.until_empty())
        requests.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
        requests.leave()
        await waiting

    asyncio.run(wait())


def test_an_answer_that_fails_leaves_the_gate_too():
    requests = InFlight()

    async def app(scope, receive, send) -> None:
        assert requests.count == 1
        raise ValueError("no answer")

    async def ask() -> None:
        transport = httpx.ASGITransport(DrainMiddleware(app, requests), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await client.get("/v1/models")

    asyncio.run(ask())
    assert requests.count == 0
