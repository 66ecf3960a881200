"""Other people's clients and tools on a server of ours: `make conformance`.

Each in its own environment (deploy/conformance_env.py), none of which has anything of this project.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from clients.asked import no_place_left, picture
from snippets import run_snippet, words_of, written
from tried import KEY, MODEL, Endpoint

from serving import TOOLS, Server, eventually, serving
from sppruner_vllm.demo.server_process import free_port

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".cache" / "conformance"
CLIENTS = ENVIRONMENTS / "clients" / "bin"
GUIDELLM = ENVIRONMENTS / "guidellm" / "bin"
PROXY = ENVIRONMENTS / "proxy" / "bin"
NODE = ENVIRONMENTS / "node"
PLACES = 4
FLAGS = (*TOOLS, "--max-requests", str(PLACES), "--api-key", KEY)
SHORT = (*TOOLS, "--override-generation-config", '{"max_new_tokens": 16}', "--api-key", KEY)
"""For generated requests, of which few say how long the answer may be."""
NO_NETWORK = {
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "SCHEMATHESIS_REPORTS": "0",
}
"""What keeps the tools from looking for the network."""

EXAMPLES = 50
SECONDS = 1200


@pytest.fixture(scope="session", autouse=True)
def environments() -> None:
    """Made when they are wanted for the first time: a download of some 300 MB."""
    subprocess.run([sys.executable, str(ROOT / "deploy" / "conformance_env.py")], check=True)


@pytest.fixture(scope="session")
def own_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("conformance") / "server.log"
    with serving(tiny_model, log, *FLAGS) as running:
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.log_tail()}"


@pytest.fixture(scope="session")
def brief_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("described") / "server.log"
    with serving(tiny_model, log, *SHORT) as running:
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.log_tail()}"


@pytest.fixture(scope="session")
def asked(own_server: Server) -> Endpoint:
    return Endpoint(own_server.url, MODEL, KEY, PLACES)


def ran(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints; it must succeed."""
    chosen = {**os.environ, **NO_NETWORK, "PYTHONPATH": "", **(env or {})}
    run = subprocess.run(
        command, cwd=cwd, env=chosen, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS
    )
    assert run.returncode == 0, run.stdout[-12000:]
    return run.stdout


@pytest.mark.parametrize("name", sorted(file.name for file in (HERE / "clients").glob("test_*.py")))
def test_a_python_client(asked: Endpoint, name: str) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-W", "default", "--endpoint", f"{asked.url},{asked.places}"]
    told = ran([str(CLIENTS / "python"), "-m", "pytest", *options, str(HERE / "clients" / name)], ROOT)
    assert "skipped" not in told.splitlines()[-1], told


def node_environment(asked: Endpoint) -> dict[str, str]:
    """What tests/conformance/node/asked.mjs reads."""
    assert asked.key is not None
    return {
        "ENDPOINT_URL": asked.url,
        "ENDPOINT_MODEL": asked.model,
        "ENDPOINT_KEY": asked.key,
        "PICTURE": picture(),
    }


@pytest.fixture
def node_folder(tmp_path: Path) -> Path:
    """A folder with the scripts beside their packages."""
    if not (NODE / "node_modules").is_dir():
        pytest.skip("no JavaScript clients: node and npm are not installed, or too old")
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    return tmp_path


@pytest.mark.parametrize("name", sorted(file.name for file in (HERE / "node").glob("*.test.mjs")))
def test_a_javascript_client(asked: Endpoint, node_folder: Path, name: str) -> None:
    told = ran(["node", "--test", "--preserve-symlinks", name], node_folder, node_environment(asked))
    assert "# pass 0" not in told, told


@pytest.mark.parametrize("name", ["openai_node.mjs", "ai_sdk.mjs"])
def test_a_javascript_snippet_of_the_page_of_clients(asked: Endpoint, node_folder: Path, name: str) -> None:
    run_snippet(name, ["node", "--preserve-symlinks"], words_of(asked), node_folder)


def test_the_proxy_of_the_page_of_clients(asked: Endpoint, tmp_path: Path) -> None:
    """Through LiteLLM's proxy, configured and asked as the page says."""
    written("litellm_proxy.yaml", words_of(asked), tmp_path)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(PROXY / "python"), "-m", "litellm.proxy.proxy_cli", "--config", "litellm_proxy.yaml"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    key = f"sk-{secrets.token_hex(32)}"
    env = {**os.environ, **NO_NETWORK, "PYTHONPATH": "", "LITELLM_MASTER_KEY": key}
    log = tmp_path / "proxy.log"
    with log.open("wb") as output:
        proxy = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=output, stderr=output)
    try:
        assert eventually(lambda: proxy.poll() is not None or answers(f"{url}/health/liveliness")), log.read_text()
        assert proxy.poll() is None, log.read_text()
        words = {"http://localhost:4000": url, "my-model": asked.model, "key-of-the-proxy": key}
        run_snippet("litellm_proxy.py", [str(CLIENTS / "python")], words, tmp_path)
    finally:
        proxy.terminate()
        proxy.wait(SECONDS)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("client", ["openai", "ai"])
def test_a_javascript_client_asks_a_full_server_again(asked: Endpoint, node_folder: Path, client: str) -> None:
    env = {**os.environ, **node_environment(asked)}
    command = ["node", "--preserve-symlinks", "full.mjs", client]
    with (
        no_place_left(asked) as held,
        subprocess.Popen(command, cwd=node_folder, env=env, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.readline().split()
        held.close()
        *_, last = process.stdout
        status = process.wait(SECONDS)
    assert first == ["503", "told", "when"]
    assert last.split() == ["200"]
    assert status == 0


def test_schemathesis_finds_nothing(brief_server: Server, tmp_path: Path) -> None:
    """Every check, every phase, on every operation that the server describes."""
    ran(
        [
            *(str(CLIENTS / "st"), "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{brief_server.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}"),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES)),
            *("--seed", "1", "--continue-on-failure", "--output-sanitize", "false"),
        ],
        tmp_path,
        {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE / "schemas")},
    )


def test_vllm_bench_serve(asked: Endpoint, tiny_model: Path, tmp_path: Path) -> None:
    """Over loadtest/bench.py: the bench's own command line does not start beside the CPU build."""
    result = tmp_path / "bench.json"
    ran(
        [
            *(sys.executable, "-m", "loadtest.bench", "run", str(result), "--backend", "openai-chat"),
            *("--base-url", asked.url, "--endpoint", "/v1/chat/completions", "--model", MODEL),
            *("--tokenizer", str(tiny_model), "--dataset-name", "random-mm", "--num-prompts", "6"),
            *("--random-input-len", "32", "--random-output-len", "8", "--max-concurrency", "2"),
            *("--random-mm-bucket-config", "{(224, 224, 1): 1.0}", "--random-mm-base-items-per-request", "1"),
            *("--random-mm-limit-mm-per-prompt", '{"image": 1, "video": 0}'),
            *("--extra-body", '{"keep_ratio": 0.25}'),
        ],
        ROOT,
        {"OPENAI_API_KEY": KEY},
    )
    assert json.loads(result.read_text())["completed"] == 6


def test_guidellm(asked: Endpoint, tiny_model: Path, tmp_path: Path) -> None:
    result = tmp_path / "guidellm.json"
    ran(
        [
            *(str(GUIDELLM / "guidellm"), "run", "--disable-console-interactive"),
            *("--backend", f"kind=openai_http,target={asked.url},api_key={KEY},model={MODEL}"),
            *("--profile", "kind=concurrent,streams=2", "--constraint", "kind=max_requests,count=8"),
            *("--data", "kind=synthetic_text,prompt_tokens=32,output_tokens=8"),
            *("--tokenizer", f"kind=huggingface_auto,model={tiny_model}"),
            *("--output", f"kind=json,path={result}"),
        ],
        tmp_path,
    )
    (benchmark,) = json.loads(result.read_text())["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (8, 0)
