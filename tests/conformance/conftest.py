"""Which clients are tried on which server.

`make test` tries those that .venv has, on the server that all tests share. `make conformance` (`--everyone`) starts a
server of its own, with a key and few places, and tries everyone on it: other people's clients run in environments of
their own, in which pytest is given that server's address (`--endpoint`).
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from tried import KEY, MODEL, Endpoint

EVERYONE = "--everyone"
ENDPOINT = "--endpoint"
CLIENT_IMPORTS = re.compile(r"^import (openai|anthropic|langchain_openai|litellm|pydantic_ai)$", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(EVERYONE, action="store_true", help="try other people's clients, in their own environments")
    parser.addoption(ENDPOINT, help="a server that runs: its URL and how many requests it takes, with a comma between")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out clients that are not installed, and what is for everyone where not everyone is asked."""
    if collection_path.name == "test_everyone.py":
        return not config.getoption(EVERYONE, default=False)
    if collection_path.parent.name == "clients" and collection_path.suffix == ".py":
        if config.getoption(EVERYONE, default=False):
            return True  # they run in an environment of their own, under test_everyone.py
        wanted = CLIENT_IMPORTS.findall(collection_path.read_text())
        return any(importlib.util.find_spec(name) is None for name in wanted)
    return None


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """The server to try clients on: the one that was named, or the one that all tests share."""
    if (named := request.config.getoption(ENDPOINT, default=None)) is not None:
        url, _, places = named.partition(",")
        return Endpoint(url, MODEL, KEY, int(places))
    return Endpoint(request.getfixturevalue("server").url, MODEL, None, None)
