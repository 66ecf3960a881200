"""What all tests share: the tiny model, one real server of it, and an environment without network look-ups."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # tests without a server import nothing of it
    import httpx

    from parallel import ByEngine
    from serving import Server

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
# One thread for every process, on whichever core is free. Of two, each waits for the other at every step, also while
# other programs have its core: models this small then take up to a hundred times as long. And vLLM would bind every
# engine to the first core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


@pytest.hookimpl(optionalhook=True)  # other environments run a part of the tests, in one process
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByEngine:
    from parallel import ByEngine

    return ByEngine(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # it is one of several processes
        from parallel import longest_first

        longest_first(items)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """What a test draws without a generator of its own is the same each time, whatever ran before it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_environment() -> None:
    """What a test sets in the environment is seen, also where vLLM has kept all its variables since an engine began."""
    if (envs := sys.modules.get("vllm.envs")) is not None:
        envs.disable_envs_cache()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny Qwen2.5-VL with seeded random weights, in float32."""
    from sppruner_vllm.demo.tiny_model import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as a user starts it, with the tiny model: one for all tests that send it requests.

    Before reduction a prompt may be longer than its context of 4,096 tokens. Pictures are fetched as `counting` has it.
    """
    from counting import fetching_flags
    from serving import GRAFANA, TOOLS, serving

    folder = tmp_path_factory.mktemp("server")
    flags = ["--max-unreduced-tokens", "6000", "--playground", *TOOLS, *fetching_flags(folder / "hosts")]
    env = {"VLLM_IMAGE_FETCH_TIMEOUT": "6", "SPPRUNER_GRAFANA_URL": GRAFANA}
    with serving(tiny_model, folder / "server.log", *flags, env=env) as running:
        yield running
        if (code := running.process.poll()) is not None:
            pytest.fail(f"the server died during the tests with status {code}:\n{running.log_tail()}")


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """An HTTP client of that server."""
    import httpx

    with httpx.Client(base_url=server.url, timeout=120) as http:
        yield http
