"""The real Prometheus with the shipped configuration, scraping a real server: what rules and panels are asked on.

Only the targets and the intervals are replaced, so that a test waits seconds for what takes minutes in production.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from rulebook import SHIPPED

from serving import Server, eventually, log_tail, program
from sppruner_vllm.demo.server_process import HOST, free_port, server_url

INTERVAL = "2s"
"""Of scrapes and of rules: a busy machine takes up to a second to render /metrics."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an instant query; labels are without the metric's name."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Stack:
    """A server and the Prometheus that scrapes it.

    url: of Prometheus, without a path.
    """

    url: str
    server: Server

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of Prometheus' HTTP API.

        Raises:
            RuntimeError: Prometheus did not like what was asked.
        """
        body = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=60).json()
        if body["status"] != "success":
            raise RuntimeError(f"{body['error']}: {parameters}")
        return body["data"]

    def query(self, expr: str) -> list[Sample]:
        """The samples of an expression at this moment."""
        return [_sample(entry) for entry in self.get("query", query=expr)["result"]]

    def is_finite(self, expr: str) -> bool:
        """Whether any sample of an expression is a number: neither NaN, as 0/0 is, nor infinite."""
        return any(math.isfinite(sample.value) for sample in self.query(expr))

    def total(self, expr: str) -> float:
        """The sum of an expression's samples."""
        return sum(sample.value for sample in self.query(expr))


@contextmanager
def scraped(server: Server, prometheus: Path, folder: Path) -> Iterator[Stack]:
    """Prometheus scraping a server, from the moment it has its first sample of it.

    Args:
        prometheus: the program.
        folder: for its configuration, data and log.
    """
    config, log, port = configuration(server, folder), folder / "prometheus.log", free_port()
    command = [
        str(prometheus),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    stack = Stack(server_url(port), server)
    with program(command, log) as process:
        if not eventually(lambda: process.poll() is not None or _has_scraped(stack)) or process.poll() is not None:
            raise RuntimeError(f"Prometheus has nothing of the server:\n{log_tail(log)}")
        yield stack


def configuration(server: Server, folder: Path) -> Path:
    """A copy of what is shipped, for this server and in a hurry."""
    copy = folder / "config"
    shutil.copytree(SHIPPED, copy)
    (copy / "targets.yml").write_text(yaml.safe_dump([{"targets": [server.url.removeprefix("http://")]}]))
    path = copy / "prometheus.yml"
    config = yaml.safe_load(path.read_text())
    config["global"] |= {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    path.write_text(yaml.safe_dump(config))
    return path


def _sample(entry: dict[str, Any]) -> Sample:
    labels = {name: value for name, value in entry["metric"].items() if name != "__name__"}
    return Sample(labels, float(entry["value"][1]))


def _has_scraped(stack: Stack) -> bool:
    try:
        ready = httpx.get(f"{stack.url}/-/ready", timeout=60).is_success
        return ready and stack.total("sppruner_build_info") > 0
    except httpx.TransportError:
        return False
