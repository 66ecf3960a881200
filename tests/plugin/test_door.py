"""The middlewares on an app of their own: what the one server of the HTTP tests is not started with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from sppruner_server.keys.ring import KeyRing
from sppruner_server.lifecycle.drain import InFlight
from sppruner_server.middleware.body import BodyMiddleware
from sppruner_server.middleware.capacity import LEAST_WAITING, most_requests
from sppruner_server.middleware.order import middlewares
from starlette.types import ASGIApp

from sppruner_vllm.settings import Settings

CLOSED = {"allow_origins": [], "allow_credentials": False, "allow_methods": ["*"], "allow_headers": ["*"]}
WITH_KEY = {"x-api-key": "a-key"}


def app(root_path: str = "") -> FastAPI:
    made = FastAPI(root_path=root_path)

    @made.get("/health")
    @made.get("/metrics")
    @made.get("/v1/models")
    async def there() -> str:
        return "there"

    @made.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    return made


def behind_the_door(made: FastAPI, **chosen: object) -> FastAPI:
    limits = Settings(api_keys="a-key", **chosen)
    door = middlewares(limits, KeyRing(limits), InFlight(), most_requests=2, processes=1, cors=CLOSED)
    made.user_middleware[:] = door
    return made


def client_of(made: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://door")


def status(made: ASGIApp, path: str, **how: object) -> int:
    async def ask() -> int:
        async with client_of(made) as client:
            return (await client.get(path, **how)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/health", 200),
        ("/health", 200),
        ("/api/v1/models", 401),
        ("/v1/models", 401),
        ("/apihealth", 401),
        ("/api/api/health", 401),
        ("/api//health", 401),
        ("/api", 401),
    ],
)
def test_probes_are_open_below_a_root_path_too_and_nothing_else(path: str, expected: int) -> None:
    assert status(behind_the_door(app(root_path="/api")), path) == expected


def test_a_key_opens_what_is_below_a_root_path() -> None:
    assert status(behind_the_door(app(root_path="/api")), "/api/v1/models", headers=WITH_KEY) == 200


@pytest.mark.parametrize(("open_metrics", "expected"), [(True, 200), (False, 401)])
def test_the_operator_says_whether_metrics_are_open(open_metrics: bool, expected: int) -> None:
    assert status(behind_the_door(app(), open_metrics=open_metrics), "/metrics") == expected
    assert status(behind_the_door(app(), open_metrics=open_metrics), "/metrics/") == 401


def test_without_keys_nothing_is_asked_for() -> None:
    made, limits = app(), Settings()
    made.user_middleware[:] = middlewares(limits, KeyRing(limits), InFlight(), 2, 1, CLOSED)
    assert status(made, "/v1/models") == 200


def test_a_page_in_a_browser_learns_nothing_where_no_origin_is_named() -> None:
    async def ask() -> httpx.Response:
        async with client_of(behind_the_door(app())) as client:
            return await client.options(
                "/length", headers={"origin": "https://a", "access-control-request-method": "POST"}
            )

    assert not [name for name in asyncio.run(ask()).headers if name.startswith("access-control")]


def test_bodies_have_a_limit_together() -> None:
    """Of 3 bodies of 600 bytes that come side by side, 1000 bytes at most are held."""
    halves = 300
    came = asyncio.Event()
    waiting = 0

    async def slow_body() -> AsyncIterator[bytes]:
        nonlocal waiting
        yield b"x" * halves
        waiting += 1
        if waiting == 3:
            came.set()
        await came.wait()
        yield b"x" * halves

    async def ask() -> list[httpx.Response]:
        async with client_of(BodyMiddleware(app(), most=700, most_held=1000, seconds=0)) as client:
            together = await asyncio.gather(*(client.post("/length", content=slow_body()) for _ in range(3)))
            return [*together, await client.post("/length", content=b"x" * 700)]

    *together, last = asyncio.run(ask())
    counts = sorted(answer.status_code for answer in together)
    assert counts[-1] == 503
    assert {answer.headers["retry-after"] for answer in together if answer.status_code == 503} == {"1"}
    assert last.json() == 700, "what was held is given back"


@pytest.mark.parametrize(
    ("chosen", "batch", "processes", "expected"),
    [
        (None, 4, 1, 4 + LEAST_WAITING),
        (None, 256, 1, 512),
        (None, 256, 3, 171),
        (100, 256, 1, 100),
        (100, 256, 3, 34),
        (0, 256, 2, 0),
    ],
)
def test_the_requests_in_flight_follow_from_the_engines_batch(
    chosen: int | None, batch: int, processes: int, expected: int
) -> None:
    assert most_requests(chosen, batch, processes) == expected


def test_the_file_of_keys_may_be_a_link_that_is_swapped(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(f"[[key]]\nname = '{name}'\nkey = 'key-{name}'\n")
    link = tmp_path / "keys.toml"
    link.symlink_to("old")
    ring = KeyRing(Settings(api_keys_file=link))
    assert ring.find([b"key-old"]) is not None
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(link)
    ring.refresh()
    assert ring.find([b"key-old"]) is None
    assert ring.find([b"key-new"]) is not None
