"""How a server ends: by a signal to all its processes, by a second one, and when its engine is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from stopping import (
    CHAT,
    all_serve,
    ask,
    drains,
    held,
    left_behind,
    of_each_kind,
    segments,
    signal_group,
)

from serving import (
    CPU_ENVIRONMENT,
    START_SECONDS,
    WAIT_SECONDS,
    Server,
    chat_body,
    command_of,
    eventually,
    narrow_client,
    processes,
    serving,
    unread,
)
from sppruner_vllm.demo.server_process import free_port

LONG_DRAIN = ("--shutdown-timeout", "600")
"""Longer than any test: a server that ends did not wait for it."""

IN_FLIGHT = 10

every = pytest.mark.skipif(os.environ.get("SPPRUNER_TEST_EVERY_STOP") != "1", reason="`make test-stops` asks it")


@pytest.mark.parametrize(
    ("number", "api_processes"),
    [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 2, marks=every)],
    ids=["SIGTERM, one process", "SIGINT, two API processes"],
)
def test_a_signal_to_every_process_loses_nothing(
    tiny_model: Path, tmp_path: Path, record_property, number: signal.Signals, api_processes: int
) -> None:
    flags = (*LONG_DRAIN, "--api-server-count", str(api_processes))
    with serving(tiny_model, tmp_path / "server.log", *flags) as server:
        assert eventually(lambda: all_serve(server, api_processes), START_SECONDS)
        shared = segments(server)
        requests = [(CHAT, chat_body(text=f"question {user}", stream=user % 2 == 0)) for user in range(IN_FLIGHT)]
        with held(server, requests) as answers:
            signal_group(server, number)
            assert eventually(lambda: drains(server, api_processes))
            late = ask(server.url, (CHAT, chat_body()))
            assert (late.status, late.errors, late.headers["retry-after"]) == (503, ["shutting_down"], "1")
            assert httpx.head(f"{server.url}/health", timeout=WAIT_SECONDS).status_code == 503
            assert httpx.get(f"{server.url}/livez", timeout=WAIT_SECONDS).status_code == 200
        finished = [answer.result() for answer in answers]
        last = time.monotonic()
        assert [(answer.status, answer.errors) for answer in finished] == [(200, [])] * IN_FLIGHT
        assert all("length" in answer.text and "abort" not in answer.text for answer in finished)
        assert server.process.wait(WAIT_SECONDS) == 0, server.log_tail()
        record_property("exit_seconds", round(time.monotonic() - last, 2))
        print(f"gone {time.monotonic() - last:.2f} s after the last answer")
        left = left_behind(server, shared)
        assert eventually(lambda: not left()), left()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=every)])
def test_a_signal_while_the_engine_loads_ends_the_server(
    tiny_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        starting = subprocess.Popen(
            command_of(tiny_model, free_port()),
            env={**os.environ, **CPU_ENVIRONMENT},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server("", starting, log)
    try:
        assert eventually(lambda: "Initializing a V1 LLM engine" in log.read_text(errors="replace"), START_SECONDS)
        starting.send_signal(number)
        assert starting.wait(WAIT_SECONDS) == 128 + number, server.log_tail()
        assert eventually(lambda: not server.living()), server.living()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(starting.pid, signal.SIGKILL)


@every
def test_a_second_signal_stops_at_once_and_says_so_to_everyone(tiny_model: Path, tmp_path: Path) -> None:
    with (
        serving(tiny_model, tmp_path / "server.log", *LONG_DRAIN) as server,
        narrow_client(server.url) as reader,
        unread(reader) as rest,
        ThreadPoolExecutor(1) as thread,
    ):
        with held(server, of_each_kind(), already=1) as answers:
            begun = thread.submit(b"".join, rest)  # all there is, while the engine stands still
            signal_group(server, signal.SIGTERM)
            assert eventually(lambda: drains(server))
            signal_group(server, signal.SIGTERM)
            finished = [answer.result() for answer in answers]
        assert [answer.errors for answer in finished] == [["shutting_down"]] * len(finished)
        assert {answer.status for answer in finished} <= {200, 503}
        assert b'"shutting_down"' in begun.result()
        assert server.process.wait(WAIT_SECONDS) == 0, server.log_tail()


TWO_API = ("--api-server-count", "2")
TWO_RANKS = ("--tensor-parallel-size", "2")
ONE_NODE = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}


@pytest.mark.parametrize(
    ("flags", "title"),
    [
        pytest.param((), "EngineCore", marks=every),
        pytest.param(TWO_API, "EngineCore", marks=every),
        pytest.param(TWO_RANKS, "Worker_TP1", marks=every),
    ],
    ids=["engine", "engine of two API processes", "worker of two"],
)
def test_requests_are_told_that_their_engine_was_killed_and_the_server_ends_with_an_error(
    tiny_model: Path, tmp_path: Path, flags: tuple[str, ...], title: str
) -> None:
    env = ONE_NODE if flags == TWO_RANKS else {}
    with serving(tiny_model, tmp_path / "server.log", *LONG_DRAIN, *flags, env=env) as server:
        assert eventually(lambda: all_serve(server, 2 if flags == TWO_API else 1), START_SECONDS)
        shared = segments(server)
        with held(server, of_each_kind()) as answers:
            for process in processes(server, title):
                process.kill()
            killed = time.monotonic()
        finished = [answer.result() for answer in answers]
        print(f"answered {time.monotonic() - killed:.2f} s after the kill")
        assert [answer.errors for answer in finished] == [["engine_dead"]] * len(finished)
        assert not any("stack trace" in answer.text for answer in finished)
        assert server.process.wait(WAIT_SECONDS) != 0, server.log_tail()
        print(f"gone {time.monotonic() - killed:.2f} s after the kill")
        left = left_behind(server, shared)
        assert eventually(lambda: not left()), left()


@every
def test_the_other_api_process_finishes_what_it_has_when_one_is_killed(tiny_model: Path, tmp_path: Path) -> None:
    with serving(tiny_model, tmp_path / "server.log", *LONG_DRAIN, *TWO_API) as server:
        assert eventually(lambda: all_serve(server, 2), START_SECONDS)
        shared = segments(server)
        with held(server, [(CHAT, chat_body(text=f"question {user}")) for user in range(IN_FLIGHT)]) as answers:
            lost, _ = processes(server, "APIServer")
            lost.kill()
            assert eventually(lambda: any(answer.done() for answer in answers))
        whole = [answer.result().status for answer in answers if answer.exception() is None]
        broken = [answer for answer in answers if isinstance(answer.exception(), httpx.TransportError)]
        assert set(whole) == {200}
        assert broken
        assert len(whole) + len(broken) == IN_FLIGHT
        assert server.process.wait(WAIT_SECONDS) != 0, server.log_tail()
        left = left_behind(server, shared)
        assert eventually(lambda: not left()), left()


@every
def test_api_processes_finish_what_they_have_when_their_front_is_killed(tiny_model: Path, tmp_path: Path) -> None:
    with serving(tiny_model, tmp_path / "server.log", *LONG_DRAIN, *TWO_API) as server:
        assert eventually(lambda: all_serve(server, 2), START_SECONDS)
        shared = segments(server)
        with held(server, of_each_kind()) as answers:
            server.process.kill()
            server.process.wait()
            killed = time.monotonic()
        finished = [answer.result() for answer in answers]
        print(f"answered {time.monotonic() - killed:.2f} s after the kill")
        # The engine stops too, and takes nothing that reaches it later.
        assert all(answer.errors in ([], ["shutting_down"]) for answer in finished), finished
        assert not any("abort" in answer.text for answer in finished)
        left = left_behind(server, shared)
        assert eventually(lambda: not left()), left()
        print(f"gone {time.monotonic() - killed:.2f} s after the kill")


@every
@pytest.mark.parametrize("flags", [(), TWO_RANKS], ids=["one process", "two workers"])
def test_nothing_outlives_a_front_that_is_killed(tiny_model: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    env = ONE_NODE if flags == TWO_RANKS else {}
    with serving(tiny_model, tmp_path / "server.log", *flags, env=env) as server:
        shared = segments(server)
        server.process.kill()
        server.process.wait()
        left = left_behind(server, shared)
        assert eventually(lambda: not left()), left()
