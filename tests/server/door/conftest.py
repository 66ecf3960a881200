"""The one server of this folder, and its clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from door.served import ALICE, BODY_MIB, CROWD, FLOOR, KEYS, LIMIT, MOST_PIXELS
from serving import Server, serving


@pytest.fixture(scope="package")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(KEYS)
    return file


@pytest.fixture(scope="package")
def door(tiny_model: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("door") / "server.log"
    flags = ["--api-keys-file", str(key_file), "--json-logs", "--allowed-origins", '["https://page.example"]']
    limits = {
        "--max-requests": LIMIT,
        "--max-body-mib": BODY_MIB,
        "--header-timeout": 5,
        "--body-timeout": 5,
        "--write-timeout": 5,
        "--load-floor-ratio": FLOOR,
        "--load-begins": 8,
        "--load-ends": CROWD,
        "--max-pixels": 336 * 336,
        "--max-request-pixels": MOST_PIXELS,
        "--max-video-pixels": 4 * MOST_PIXELS,
    }
    flags += [str(word) for limit in limits.items() for word in limit]
    flags += ["--trust-request-mm-kwargs", "--enable-mm-embeds"]
    keys = {"VLLM_API_KEY": "key-of-vllm", "SPPRUNER_API_KEYS": "key-of-environment, another-of-environment"}
    # Whoever has got an answer whole, and does not read it, holds an idle connection.
    idle = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "5"}
    stores = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}
    with serving(tiny_model, log, *flags, env={**keys, **idle, **stores}) as running:
        yield running


@pytest.fixture(scope="package")
def guest(door: Server) -> Iterator[httpx.Client]:
    """Without a key."""
    with httpx.Client(base_url=door.url, timeout=120) as http:
        yield http


@pytest.fixture(scope="package")
def alice(door: Server) -> Iterator[httpx.Client]:
    """With a key that has no limits of its own."""
    with httpx.Client(base_url=door.url, timeout=120, headers=ALICE) as http:
        yield http
