"""How an API process ends, told by an engine and a server that note what they are asked."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sppruner_server.engine.acceptance import telling
from sppruner_server.environment import DRAIN_SECONDS
from sppruner_server.errors.ended import CutOff
from sppruner_server.errors.faults import refusal_of
from sppruner_server.hooks import install_ending
from sppruner_server.lifecycle.drain import InFlight
from sppruner_server.lifecycle.ending import Ending, drain_seconds
from sppruner_server.middleware.drain import DrainMiddleware
from sppruner_server.request.attempt import Attempt
from vllm.v1.engine.exceptions import EngineDeadError

PATIENT = 600.0


class Engine:
    """Stands for vLLM's engine client."""

    def __init__(self) -> None:
        self.errored = False
        self.aborted: list[str] = []
        self.told: list[Exception] = []
        self.timeouts: list[float | None] = []
        self.output_processor = SimpleNamespace(request_states={"one": None}, propagate_error=self.told.append)
        self.engine_core = SimpleNamespace(resources=SimpleNamespace(engine_manager=self))

    async def abort(self, ids: list[str], internal: bool) -> None:
        assert internal, "the ids are the engine's own"
        self.aborted += ids

    def generate(self) -> str:
        return "generated"

    def shutdown(self, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)


class Process:
    """An API process with one request in flight."""

    def __init__(self, seconds: float) -> None:
        self.engine, self.requests = Engine(), InFlight()
        self.server = SimpleNamespace(should_exit=False, config=SimpleNamespace(timeout_graceful_shutdown=None))
        self.ending = Ending(self.engine, SimpleNamespace(server=self.server), self.requests, seconds)
        self.requests.enter()

    async def gone(self) -> None:
        await until(lambda: self.server.should_exit)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 (what is waited for sets no event)
        await asyncio.sleep(0)


def run(check: Any, seconds: float = PATIENT) -> None:
    async def main() -> None:
        process = Process(seconds)
        process.ending.listen()
        await check(process)

    asyncio.run(main())


@pytest.fixture
def heeding_hangups() -> Iterator[None]:
    """nohup has them ignored, and so the server would leave them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heeding_hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_closes_the_gate_and_the_server_goes_when_the_last_request_has(number):
    async def check(process: Process) -> None:
        os.kill(os.getpid(), number)
        await until(lambda: process.requests.refusal)
        assert not process.server.should_exit
        process.requests.leave()
        await process.gone()
        assert process.engine.told == []

    run(check)


def test_what_has_not_ended_in_time_gets_an_error_and_the_engine_is_freed_of_it():
    async def check(process: Process) -> None:
        process.ending.stop()
        await until(lambda: process.engine.told)
        assert isinstance(process.engine.told[0], CutOff)
        assert "one" in process.engine.aborted
        with pytest.raises(CutOff, match="before the answer was complete"):
            process.engine.generate()
        process.requests.leave()
        await process.gone()

    run(check, seconds=0)


def test_a_second_signal_does_not_wait():
    async def check(process: Process) -> None:
        process.ending.stop()
        await asyncio.sleep(0)
        assert process.engine.told == []
        process.ending.stop()
        await until(lambda: process.engine.told)
        process.requests.leave()
        await process.gone()

    run(check)


def test_a_process_ends_with_its_engine_and_with_an_error():
    async def check(process: Process) -> None:
        install_ending(process.engine, process.ending.shutting_down)
        process.engine.errored = True
        await until(lambda: process.requests.refusal)
        assert process.requests.refusal.code == "engine_dead"
        process.requests.leave()
        await process.gone()
        with pytest.raises(SystemExit, match="engine died"):
            process.engine.shutdown(timeout=30)
        process.engine.shutdown(timeout=30)  # once

    run(check)


def test_an_api_process_whose_front_is_gone_finishes_what_it_has(monkeypatch):
    read, write = os.pipe()
    front = SimpleNamespace(sentinel=read, is_alive=lambda: True)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: front)

    async def check(process: Process) -> None:
        assert not process.ending.stops()
        os.close(write)
        await until(lambda: process.requests.refusal)
        assert process.requests.refusal.code == "shutting_down"
        assert process.ending.stops()
        assert not process.server.should_exit
        process.requests.leave()
        await process.gone()

    run(check)
    os.close(read)


@pytest.mark.parametrize("stops", [True, False])
def test_what_the_engine_gives_up_while_the_server_stops_is_an_error(stops):
    async def generate(*_: object) -> Any:
        yield SimpleNamespace(outputs=[SimpleNamespace(finish_reason="abort")])

    async def answer() -> list[Any]:
        return [output async for output in telling(generate, dead_ends=False, stops=lambda: stops)("hello", None)]

    if stops:
        with pytest.raises(CutOff):
            asyncio.run(answer())
    else:
        assert len(asyncio.run(answer())) == 1


def test_the_app_lets_it_listen_when_it_starts():
    heard = []

    async def app(scope, receive, send) -> None:
        heard.append(scope["type"])

    state = SimpleNamespace(sppruner_ending=SimpleNamespace(listen=lambda: heard.append("listening")))
    scope = {"type": "lifespan", "app": SimpleNamespace(state=state)}
    asyncio.run(DrainMiddleware(app, InFlight())(scope, None, None))
    assert heard == ["listening", "lifespan"]


def test_the_operators_time_is_that_of_the_requests(monkeypatch):
    monkeypatch.delenv(DRAIN_SECONDS, raising=False)
    assert drain_seconds(30) == 30
    monkeypatch.setenv(DRAIN_SECONDS, "20")
    assert drain_seconds(30) == 20


@pytest.mark.parametrize(("failure", "code"), [(CutOff(), "shutting_down"), (EngineDeadError(), "engine_dead")])
def test_what_ended_a_request_is_told_by_a_code(failure, code):
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
    for accepted in (False, True):
        late = RuntimeError("Caught handled exception, but response already started.")
        late.__cause__ = failure  # as Starlette raises what a stream has raised
        for raised in (failure, late):
            refusal = refusal_of(raised, scope, Attempt(accepted=accepted))
            assert refusal.code == code
            assert "stack trace" not in refusal.message
