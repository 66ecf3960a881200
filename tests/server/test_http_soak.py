"""The soak in its short form on the shared server; whether memory grows shows in hours, and is no part of the tests."""

from __future__ import annotations

import json
from pathlib import Path

from loadtest.memory import ALL, title, tree
from loadtest.soak import FEWEST_READINGS
from loadtest.soak import main as soak
from serving import Server, eventually
from sppruner_vllm.heap import THREAD

REQUESTS = 30
SIZE = ("--hours", "0", "--users", "4", "--image-pool", "2", "--rate", "1000")


def test_it_sends_every_kind_of_request_and_judges_each_process_once_warm(server: Server, tmp_path, capsys):
    warm = ["--requests", str(REQUESTS), "--warm-up", "10", "--kv-turns", "0"]
    status = soak(["--url", server.url, "--pid", str(server.process.pid), "--out", str(tmp_path), *SIZE, *warm])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["picture_requests"] >= REQUESTS
    assert result["statuses"].keys() <= {"200", "400", "499"}
    assert result["statuses"]["200"] > 0
    judged = [sizes for at, sizes in result["readings"] if at >= result["warm_after_seconds"]]
    assert FEWEST_READINGS <= len(judged) < len(result["readings"])
    assert {"sppruner_server", "VLLM::EngineCore"} <= {name.split()[0] for name in result["processes"]}
    assert result["processes"][ALL]["first"] == sum(judged[0].values()) > 0
    assert result["segments_before"] == result["segments_after"]
    assert all(problem.startswith("memory grows") for problem in result["problems"])
    assert status == bool(result["problems"])
    assert "MiB/h" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_of_a_server_that_does_not_get_warm_it_says_nothing(server: Server, tmp_path, capsys):
    size = [*SIZE, "--requests", "3", "--kv-turns", "1e9", "--warm-up", "0"]
    assert soak(["--url", server.url, "--pid", str(server.process.pid), "--out", str(tmp_path), *size]) == 1
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["processes"] == {}
    assert result["problems"] == ["the server did not get warm, so nothing is known of its memory"]
    assert "never warm" in (tmp_path / "report.md").read_text()


def test_every_process_of_a_server_gives_memory_back(server: Server):
    def heaps(pid: int) -> int:
        return [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")].count(THREAD)

    serving = [pid for pid in tree(server.process.pid) if title(pid).startswith(("VLLM::", "sppruner_server"))]
    assert any(title(pid) == "VLLM::EngineCore" for pid in serving)
    assert eventually(lambda: [heaps(pid) for pid in serving] == [1] * len(serving))
