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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import KEPT_CONNECTIONS, eventually
from sppruner_vllm.demo.server_process import RunningServer, free_port, running_server, server_url

IMAGE = os.environ.get("SPPRUNER_TEST_IMAGE", "")
TOOL = os.environ.get("SPPRUNER_TEST_TOOL", "docker")
START_SECONDS = 600
STOP_SECONDS = 60
KEYS = "/etc/sppruner"
"""Folder in the container for a key file."""
ENGINE = "VLLM::EngineCore"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class Container:
    """A container of the image, as hardened as the README says, its port published on this machine."""

    def __init__(self, user: str, flags: Sequence[str] = (), keys: Path | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.keys = keys
        options = ["--user", user, "--publish", f"127.0.0.1:{port}:8000"]
        options += [part for name, value in KEPT_CONNECTIONS.items() for part in ("--env", f"{name}={value}")]
        if keys is not None:
            options += ["--volume", f"{keys.parent}:{KEYS}:ro", "--env", f"SPPRUNER_API_KEYS_FILE={KEYS}/{keys.name}"]
        self.id = tool("run", "--detach", *HARDENED, *options, IMAGE, *flags)

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

    def stop(self) -> None:
        """As an operator does, who waits as long as the docs say."""
        tool("stop", "--time", str(STOP_SECONDS), self.id)

    def run(self, program: str) -> str:
        """What a Python program prints inside, as the server's own user."""
        return tool("exec", self.id, "python", "-c", program)

    def signal(self, number: signal.Signals, title: str = "") -> None:
        """Send a signal to every process inside whose command line begins so, at once."""
        self.run(
            "import os, pathlib;"
            f"[os.kill(int(one.parent.name), {int(number)}) for one in pathlib.Path('/proc').glob('[0-9]*/cmdline')"
            f" if one.parent.name != str(os.getpid()) and one.read_bytes().startswith({title.encode()})]"
        )

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server while its engine stands still: whatever it was asked stays in flight until the block ends."""
        self.signal(signal.SIGSTOP, ENGINE)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT, ENGINE)

    def wait(self) -> int:
        return int(tool("wait", self.id))

    def log(self) -> str:
        return tool("logs", self.id)

    def remove(self) -> None:
        tool("rm", "--force", self.id)


class Process:
    """The image's entry point without the image."""

    def __init__(self, server: RunningServer, log: Path) -> None:
        self.url = server.url
        self._process = server.process
        self._log = log

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        return self._process.wait(STOP_SECONDS)

    def log(self) -> str:
        return self._log.read_text(errors="replace")


def tool(*arguments: str) -> str:
    """Run the container tool; what it prints on both streams together for logs, else on the first alone."""
    both = subprocess.STDOUT if arguments[0] == "logs" else subprocess.PIPE
    done = subprocess.run([*shlex.split(TOOL), *arguments], stdout=subprocess.PIPE, stderr=both, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{TOOL} {arguments[0]} failed: {done.stderr or done.stdout}")
    return done.stdout.strip()


@contextmanager
def started(
    log: Path, user: str = "2000:0", flags: Sequence[str] = (), keys: Path | None = None
) -> Iterator[Container | Process]:
    """The endpoint, healthy; removed at the end.

    Args:
        log: where a process's output goes; a container's tool keeps it.
        user: UID and GID of a container's processes.
        flags: for the server.
        keys: a key file that any user may read, alone in its folder.
    """
    if not IMAGE:
        port = free_port()
        command = [sys.executable, "-m", "sppruner_server.container", "--port", str(port), *flags]
        env = {**KEPT_CONNECTIONS, **({} if keys is None else {"SPPRUNER_API_KEYS_FILE": str(keys)})}
        with running_server(command, server_url(port), env, log=log, limit=START_SECONDS) as server:
            yield Process(server, log)
        return
    container = Container(user, flags, keys)
    try:
        if not eventually(container.healthy, START_SECONDS, every=1):
            raise RuntimeError(f"not healthy after {START_SECONDS} s:\n{container.log()}")
        yield container
    finally:
        container.remove()
