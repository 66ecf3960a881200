"""The gate that a stopping server closes: what is inside is waited for, what comes later goes elsewhere."""

from __future__ import annotations

import asyncio

import httpx
from sppruner_server.lifecycle.drain import SHUTTING_DOWN, InFlight
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


class Upload:
    """A request whose body comes in pieces, to an application that answers once it is whole."""

    def __init__(self, requests: InFlight) -> None:
        self._middleware = DrainMiddleware(self._app, requests)
        self.pieces: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.statuses: list[int] = []
        self.waits = asyncio.Event()

    async def send(self) -> None:
        headers = [(b"content-length", b"100")]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
        await self._middleware(scope, self._receive, self._note)

    async def _receive(self) -> dict[str, object]:
        self.waits.set()
        return await self.pieces.get()

    async def _note(self, message) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])

    async def _app(self, scope, receive, send) -> None:
        while (await receive()).get("more_body"):
            pass
        gone = asyncio.create_task(receive())  # as a stream does
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        self.pieces.put_nowait({"type": "http.disconnect"})
        assert (await gone)["type"] == "http.disconnect"


def piece(*, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": b"x", "more_body": more}


def test_a_body_that_trickles_in_does_not_hold_up_the_end():
    async def check() -> None:
        requests = InFlight()
        slow = Upload(requests)
        sending = asyncio.create_task(slow.send())
        slow.pieces.put_nowait(piece(more=True))
        await slow.waits.wait()
        requests.close(SHUTTING_DOWN, 0)
        await sending
        assert slow.statuses == [503]
        assert requests.count == 0

    asyncio.run(check())


def test_a_body_that_comes_soon_is_waited_for_and_answered():
    async def check() -> None:
        requests = InFlight()
        prompt = Upload(requests)
        sending = asyncio.create_task(prompt.send())
        prompt.pieces.put_nowait(piece(more=True))
        await prompt.waits.wait()
        requests.close(SHUTTING_DOWN, 600)
        prompt.pieces.put_nowait(piece(more=True))
        prompt.pieces.put_nowait(piece(more=False))
        await sending
        assert prompt.statuses == [200]

    asyncio.run(check())


def test_a_request_that_is_whole_has_the_time_of_the_drain():
    async def check() -> None:
        requests = InFlight()
        whole = Upload(requests)
        whole.pieces.put_nowait(piece(more=False))
        sending = asyncio.create_task(whole.send())
        await whole.waits.wait()
        requests.close(SHUTTING_DOWN, 0)
        await sending
        assert whole.statuses == [200]

    asyncio.run(check())
