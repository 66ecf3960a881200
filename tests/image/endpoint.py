"""Starts what the tests of this folder talk to: an image in a container, or its entry point as a process.

The image when SPPRUNER_TEST_IMAGE names one; SPPRUNER_TEST_TOOL is the command of the container tool.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sppruner_vllm.demo.server_process import free_port

IMAGE = os.environ.get("SPPRUNER_TEST_IMAGE", "")
TOOL = os.environ.get("SPPRUNER_TEST_TOOL", "docker")
START_SECONDS = 600
STOP_SECONDS = 60
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Container:
    """A container of the image, as hardened as the README says, its port published on this machine."""

    def __init__(self, user: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.id = tool("run", "--detach", *HARDENED, "--user", user, "--publish", f"127.0.0.1:{port}:8000", IMAGE)

    def healthy(self) -> bool:
        """Whether the image's own health check passes. Podman runs it on a schedule only where there is systemd."""
        state = self.inspect()["State"]
        if not state["Running"]:
            raise RuntimeError(f"the container ended with status {state['ExitCode']}:\n{self.log()}")
        if "podman" in TOOL:
            check = [*shlex.split(TOOL), "healthcheck", "run", self.id]
            return subprocess.run(check, check=False, capture_output=True).returncode == 0
        return str(state["Health"]["Status"]) == "healthy"

    def inspect(self) -> dict[str, Any]:
        return json.loads(tool("inspect", self.id))[0]

    def terminate(self) -> None:
        tool("kill", "--signal", "TERM", self.id)

    def wait(self) -> int:
        return int(tool("wait", self.id))

    def log(self) -> str:
        return tool("logs", self.id)

    def remove(self) -> None:
        tool("rm", "--force", self.id)


class Process:
    """The image's entry point without the image."""

    def __init__(self, log: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        command = [sys.executable, "-m", "sppruner_server.container", "--port", str(port)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def healthy(self) -> bool:
        assert self._process.poll() is None, self.log()
        return httpx.get(f"{self.url}/health", timeout=10).is_success

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        return self._process.wait(STOP_SECONDS)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def remove(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def tool(*arguments: str) -> str:
    """Run the container tool; what it prints on both streams together for logs, else on the first alone."""
    both = subprocess.STDOUT if arguments[0] == "logs" else subprocess.PIPE
    done = subprocess.run([*shlex.split(TOOL), *arguments], stdout=subprocess.PIPE, stderr=both, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{TOOL} {arguments[0]} failed: {done.stderr or done.stdout}")
    return done.stdout.strip()


@contextmanager
def started(log: Path, user: str = "2000:0") -> Iterator[Container | Process]:
    """The endpoint, healthy; removed at the end.

    Args:
        log: where a process's output goes; a container's tool keeps it.
        user: UID and GID of a container's processes.
    """
    endpoint = Container(user) if IMAGE else Process(log)
    try:
        _wait(endpoint)
        yield endpoint
    finally:
        endpoint.remove()


def _wait(endpoint: Container | Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if endpoint.healthy():
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise RuntimeError(f"not healthy after {START_SECONDS} s:\n{endpoint.log()}")
