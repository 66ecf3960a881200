"""One real server for all HTTP tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving import Server, data_url, png, serving


@pytest.fixture(scope="session")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as a user starts it, with the tiny model."""
    with serving(tiny_model, tmp_path_factory.mktemp("server") / "server.log") as running:
        yield running
        if (code := running.process.poll()) is not None:
            pytest.fail(f"the server died during the tests with status {code}:\n{running.log_tail()}")


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of that server."""
    with httpx.Client(base_url=server.url, timeout=120) as http:
        yield http


@pytest.fixture(scope="session")
def picture() -> str:
    """A 1008x1008 image: 36 x 36 = 1296 visual tokens on Qwen2.5-VL."""
    return data_url(png(1008, 1008))
