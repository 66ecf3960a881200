"""Runs the server as a child for as long as a `with` block lasts, and leaves no process behind.

The child gets a session of its own: whatever it starts (engine, workers) ends with it, however the block is left.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import httpx

HOST: Final = "127.0.0.1"
START_LIMIT: Final = 1800.0
"""Seconds a server may take to get ready: a large model has to be read from disk."""

GRACE: Final = 45.0
"""Seconds a server may take to stop before it is killed: it finishes what it has in flight, for 30 s by default."""

TIDYING: Final = 5.0
"""Seconds for what ends last: Python's resource tracker removes from /dev/shm what killed processes have left there."""

OURS: Final = "sppruner_server"
STOCK: Final = "vllm.entrypoints.launchers.api_server.entry"
"""vLLM's own server; the `vllm` command of its CPU build does not start."""

_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP. By default every call reads all certificates there are: 50 ms of a processor, twice a second."""

NO_PLUGIN: Final = {"VLLM_PLUGINS": ""}


class ServerFailed(RuntimeError):
    """There is no server to talk to; the message says why."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers: its address and the process at its root."""

    url: str
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def server_url(port: int) -> str:
    return f"http://{HOST}:{port}"


def server_command(arguments: Sequence[str], port: int, module: str = OURS) -> list[str]:
    """Command line of a server on the loopback interface."""
    return [sys.executable, "-m", module, *arguments, "--host", HOST, "--port", str(port)]


@contextmanager
def running_server(
    command: Sequence[str],
    url: str,
    environment: Mapping[str, str],
    log: Path | None = None,
    on_wait: Callable[[float], None] = lambda seconds: None,
    limit: float = START_LIMIT,
) -> Iterator[RunningServer]:
    """Start a server, wait until its /health answers, and stop it at the end of the block.

    Args:
        command: program and arguments, see `server_command`.
        url: where it will listen, without a path.
        environment: variables on top of this process's own.
        log: file for its output, None to share ours.
        on_wait: called twice a second with the seconds waited so far.
        limit: seconds until a server that is not ready has failed.

    Raises:
        ServerFailed: it never became ready, or another process has the port.
    """
    with _termination_as_exit(), _output(log) as output:
        if answers(url):  # its answers would pass for our server's
            raise ServerFailed(f"another server already listens at {url}")
        process = subprocess.Popen(  # noqa: S603 (our own command)
            command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_until_ready(url, process, on_wait, limit)
            yield RunningServer(url, process)
        finally:
            _stop(process)


def _wait_until_ready(
    url: str, process: subprocess.Popen[bytes], on_wait: Callable[[float], None], limit: float
) -> None:
    start = time.monotonic()
    while (waited := time.monotonic() - start) < limit:
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with status {process.returncode} before it was ready")
        if answers(url):
            return
        on_wait(waited)
        time.sleep(0.5)
    raise ServerFailed(f"the server was not ready after {limit:.0f} s")


def answers(url: str) -> bool:
    """Whether a server at `url` says that it is healthy."""
    try:
        return httpx.get(f"{url}/health", timeout=5, verify=_NO_TLS).is_success
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then kill whatever is left of its session's process group; at once on a second Ctrl-C."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        if process.poll() is not None:
            _let_tidy(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _let_tidy(group: int) -> None:
    """Ask what is left of a process group to end, and wait until it has, within limits. The tracker is deaf to it."""
    end = time.monotonic() + TIDYING
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.02)


@contextmanager
def _output(log: Path | None) -> Iterator[int | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        yield file.fileno()


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that the server is stopped then too."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
