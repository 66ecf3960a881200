"""Debian's Prometheus, and one stack of it and the shared real server for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stack import Stack, scraped
from traffic import one_of_each, send

from serving import Server, eventually, metric

FETCH = Path(__file__).resolve().parents[2] / "deploy" / "fetch_prometheus.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the stack come last, so that nothing else runs beside a Prometheus that scrapes every two seconds."""
    items.sort(key=lambda item: "stack" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def prometheus_folder() -> Path:
    """The folder of `prometheus` and `promtool`; fetched when the set-up could not."""
    done = subprocess.run([sys.executable, str(FETCH)], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Path(done.stdout.strip())
    if shutil.which("apt-get") is None and os.environ.get("CI") != "true":
        pytest.skip(done.stderr)
    pytest.fail(done.stderr)


@pytest.fixture(scope="session")
def promtool(prometheus_folder: Path) -> Path:
    return prometheus_folder / "promtool"


@pytest.fixture(scope="session")
def prometheus_binary(prometheus_folder: Path) -> Path:
    return prometheus_folder / "prometheus"


@pytest.fixture(scope="session")
def stack(
    server: Server, client: httpx.Client, prometheus_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Prometheus with samples from before and after requests of every kind."""
    with scraped(server, prometheus_binary, tmp_path_factory.mktemp("prometheus")) as running:
        for seed in (50_000, 60_000):
            answers = send(client, one_of_each(seed))
            assert {200, 400, 404} <= set(answers) <= {200, 400, 404}
        served = metric(client, "sppruner_requests_total")
        assert eventually(lambda: running.total("sppruner_requests_total") >= served), running.query("up")
        yield running


@pytest.fixture(scope="session")
def prometheus_url(stack: Stack) -> str:
    """Where that Prometheus answers, after the traffic."""
    return stack.url
