"""Tests of this folder never import vLLM, and one that does fails.

Seen where nothing else imported it before, as in `make quick`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator

import pytest

HOST = "vllm"
REFUSED = f"a test of tests/pure imports {HOST}: its place is tests/plugin"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    before = HOST in sys.modules
    report = yield
    if not before and HOST in sys.modules:
        report.outcome, report.longrepr = "failed", f"{collector.nodeid}: {REFUSED}"
    return report


@pytest.fixture(autouse=True)
def _no_host() -> Iterator[None]:
    before = HOST in sys.modules
    yield
    assert before or HOST not in sys.modules, REFUSED
