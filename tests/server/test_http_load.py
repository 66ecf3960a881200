"""A load of mixed pictures, ratios and questions: nothing fails, nothing stays behind."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from serving import Server, chat_body, data_url, eventually, metric, png, serving

CONCURRENCY = 8
SIZES = ((336, 336), (224, 672), (560, 280), (84, 840), (700, 700), (112, 112))
RATIOS = (1, 0.5, 0.222, 0.1)

GROWTH_ALLOWED = 24 * 2**20
"""Bytes. 200 requests bring some 1,200 MiB of pixels to the worker; keeping 2 % of them would be seen."""


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose caches are full after a short warm-up, so that later growth is a leak."""
    flags = ("--mm-processor-cache-gb", "0.1", "--max-num-batched-tokens", "1024", "--max-num-seqs", "16")
    with serving(tiny_model, tmp_path_factory.mktemp("load") / "server.log", *flags) as running:
        yield running


def send_many(server: Server, count: int, seed: int) -> list[httpx.Response]:
    """Requests with one to three pictures each, and a question of their own so that no cache answers for the worker."""
    choose = random.Random(seed)
    pool = [data_url(png(*size, seed=index)) for index, size in enumerate(SIZES)]
    bodies = [
        chat_body(
            *choose.choices(pool, k=choose.randint(1, 3)),
            text=f"question {seed} {number}",
            keep_ratio=choose.choice(RATIOS),
            stream=choose.random() < 0.3,
        )
        for number in range(count)
    ]
    with httpx.Client(base_url=server.url, timeout=300) as client, ThreadPoolExecutor(CONCURRENCY) as threads:
        return list(threads.map(lambda body: client.post("/v1/chat/completions", json=body), bodies))


def worker_anonymous_bytes(server: Server) -> int:
    """Anonymous memory, resident or swapped, of the process that holds the engine core and its worker."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    (worker,) = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return sum(int(kib) * 1024 for kib in re.findall(r"(?:RssAnon|VmSwap):\s+(\d+) kB", status))


def test_200_mixed_requests_at_concurrency_8_leave_nothing_behind(server: Server) -> None:
    send_many(server, 100, seed=1)
    before = worker_anonymous_bytes(server)
    answers = send_many(server, 200, seed=2)
    assert {answer.status_code for answer in answers} == {200}
    with httpx.Client(base_url=server.url) as client:
        assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)
        assert eventually(lambda: metric(client, "vllm:kv_cache_usage_perc") == 0)
        assert metric(client, "sppruner_selection_seconds_count") > CONCURRENCY
    growth = worker_anonymous_bytes(server) - before
    print(f"worker memory: {before / 2**20:.1f} MiB, then {growth / 2**20:+.1f} MiB")
    assert growth < GROWTH_ALLOWED
