"""The soak in its short form on the shared server; whether memory grows shows in hours, and is no part of the tests."""

from __future__ import annotations

import json

from loadtest.memory import BLOCKS
from loadtest.soak import main as soak
from serving import Server

REQUESTS = 30


def test_it_sends_every_kind_of_request_and_reports_memory_and_segments(server: Server, tmp_path, capsys):
    size = ["--hours", "0", "--requests", str(REQUESTS), "--users", "4", "--image-pool", "2"]
    status = soak(["--url", server.url, "--pid", str(server.process.pid), "--out", str(tmp_path), *size])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["picture_requests"] >= REQUESTS
    assert result["statuses"].keys() <= {"200", "400", "499"}
    assert result["statuses"]["200"] > 0
    assert len(result["readings"]) >= 2 * BLOCKS
    assert all(size > 0 for _, size in result["readings"])
    assert result["segments"] == result["segments_after"]
    assert set(result["problems"]) <= {"memory grows"}
    assert status == bool(result["problems"])
    assert "MiB/h" in (tmp_path / "report.md").read_text()
