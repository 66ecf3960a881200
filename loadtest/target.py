"""The server a load goes to: one that runs already, or one started as `make serve` starts it and stopped at the end.

That start is the load test's only tie to the product, a command line and no import. How a child is started, waited for
and stopped stands in demo/server_process.py too: the load test may not import it, nor is it installed with the plugin.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

HOST: Final = "127.0.0.1"
START_LIMIT_S: Final = 1800.0
GRACE_S: Final = 60.0
_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP. By default every call reads all certificates there are: 50 ms of a processor, twice a second."""
_SERVE: Final = (sys.executable, "-m", "sppruner_vllm.demo", "serve")


class NoServer(RuntimeError):
    """There is no server to load; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server that answers. `root` is the checkpoint it serves, as it names it: a folder or a hub name.

    pid: of the process that started it; None for one that ran already.
    """

    url: str
    model: str
    root: str
    version: str
    pid: int | None = None


@contextmanager
def serving(
    url: str | None,
    model: str | None,
    flags: Sequence[str],
    log: Path,
    on_wait: Callable[[float], None] = lambda seconds: None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Target]:
    """The server at `url`, or one of our own on a free port.

    Args:
        url: of a server that runs; None starts one.
        model: for the one that is started; None is the demo model.
        flags: of vLLM, for the one that is started.
        log: file for what that one prints.
        on_wait: called twice a second with the seconds waited so far.
        environment: of the one that is started, beside our own.

    Raises:
        NoServer: it does not answer, or did not start.
    """
    if url is not None:
        yield target(url.rstrip("/"))
        return
    port = _free_port()
    command = [*_SERVE, "--port", str(port), *(["--model", model] if model else []), *flags]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, _termination_as_exit():
        process = subprocess.Popen(  # noqa: S603 (our own command)
            command, stdout=output, stderr=output, start_new_session=True, env={**os.environ, **environment}
        )
        try:
            own = f"http://{HOST}:{port}"
            _wait(own, process, log, on_wait)
            yield replace(target(own), pid=process.pid)
        finally:
            _stop(process)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line that may name the server. What no option takes is vLLM's and comes as `flags`.

    Args:
        parser: with the command's own options; abbreviations off, so that vLLM's flags are not taken for them.
    """
    add = parser.add_argument
    add("--url", help="a server that runs (default: one is started as `make serve` does)")
    add("--model", help="folder or hub name for the server that is started (default: the demo model)")
    add("--device", help="what the server runs on, for the report (default: this machine)")
    options, flags = parser.parse_known_args(arguments)
    options.flags = [flag for flag in flags if flag != "--"]
    if options.flags and options.url:
        parser.error(f"unrecognized arguments: {' '.join(options.flags)}")
    return options


def target(url: str) -> Target:
    """What the server says of itself.

    Raises:
        NoServer: it does not answer, or is no such server.
    """
    try:
        models = httpx.get(f"{url}/v1/models", timeout=30).raise_for_status().json()["data"][0]
        version = httpx.get(f"{url}/version", timeout=30)
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as problem:
        raise NoServer(f"no server to load at {url}: {problem}") from problem
    named = version.json().get("version", "") if version.is_success else ""
    return Target(url, models["id"], models.get("root") or models["id"], named)


def machine() -> str:
    """This machine in words: processor, cores, memory, operating system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, on_wait: Callable[[float], None]) -> None:
    start = time.monotonic()
    while (waited := time.monotonic() - start) < START_LIMIT_S:
        if process.poll() is not None:
            raise NoServer(f"the server ended with status {process.returncode}; see {log}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=5, verify=_NO_TLS).is_success:
                return
        on_wait(waited)
        time.sleep(0.5)
    raise NoServer(f"the server was not ready after {START_LIMIT_S:.0f} s; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """`make serve` stops its server when it is told to stop; what is left after a while is killed."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that the server is stopped then too."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
