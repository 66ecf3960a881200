"""Two replicas of the real server behind Envoy, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from balancer import Balancer, balanced
from replicas import Replica, replicas


@pytest.fixture(scope="module")
def pair(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """The two replicas; a test that needs both brings up again what an earlier one ended."""
    with replicas(tiny_model, tmp_path_factory.mktemp("replicas")) as running:
        yield running


@pytest.fixture(scope="module")
def balancer(pair: list[Replica], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Envoy in front of them."""
    with balanced(pair, tmp_path_factory.mktemp("envoy")) as running:
        yield running
