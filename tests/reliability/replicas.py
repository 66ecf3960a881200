"""Several servers at once, each of which a test may kill, stop or bring back under its old address.

`serving` of the other tests starts one server and waits for it; here they share the time that starting takes.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from serving import CPU_ENVIRONMENT, CPU_FLAGS, MODEL_NAME, START_SECONDS, eventually, log_tail, metric
from sppruner_vllm.demo.server_process import answers, free_port, server_command, server_url

DRAIN_SECONDS = 30
EXIT_SECONDS = DRAIN_SECONDS + 30


@dataclass(slots=True)
class Replica:
    """One of several equal servers; its port stays the same over restarts."""

    model: Path
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return server_url(self.port)

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, without waiting for it."""
        flags = [*CPU_FLAGS, "--shutdown-timeout", str(DRAIN_SECONDS)]
        command = server_command([str(self.model), "--served-model-name", MODEL_NAME, *flags], self.port)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **CPU_ENVIRONMENT},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and to all it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it as a lost machine would: no process of it gets to say anything."""
        self.signal_all(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def answers(self) -> bool:
        return answers(self.url)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a sample over its /metrics."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            return metric(client, name, **labels)


@contextmanager
def replicas(model: Path, folder: Path, count: int = 2) -> Iterator[list[Replica]]:
    """Replicas of `model` that are ready, and gone at the end."""
    all_of_them = [Replica(model, folder / f"replica-{number}.log") for number in range(count)]
    try:
        bring_up(all_of_them)
        yield all_of_them
    finally:
        for replica in all_of_them:
            replica.kill()


def bring_up(several: Sequence[Replica]) -> None:
    """Start those that do not run, all at once, and wait until each of them answers.

    Raises:
        RuntimeError: one of them did not come up; the message holds the end of its log.
    """
    for replica in several:
        if not replica.running():
            replica.start()
    for replica in several:
        eventually(lambda replica=replica: replica.answers() or not replica.running(), within=START_SECONDS)
        if not replica.answers():
            raise RuntimeError(f"{replica.url} did not come up:\n{log_tail(replica.log)}")
