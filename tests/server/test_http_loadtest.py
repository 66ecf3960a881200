"""The load generator against the real server, side by side with vLLM's own bench."""

from __future__ import annotations

import json

import pytest

from loadtest.agree import main as agree
from loadtest.process import run_locust
from serving import Server

REQUESTS = 6


@pytest.fixture(scope="module")
def agreement(server: Server, tmp_path_factory: pytest.TempPathFactory):
    """The folder of one small comparison. Its verdict depends on the machine's load and is no part of the tests."""
    out = tmp_path_factory.mktemp("agree")
    size = ["--runs", "1", "--requests", str(REQUESTS), "--users", "2", "--output-tokens", "5"]
    status = agree(["--url", server.url, "--out", str(out), "--keep-ratio", "0.5", "--image-size", "56x56", *size])
    assert status in (0, 1)
    return out


def read(path):
    return json.loads(path.read_text())


def test_the_result_has_every_key_of_vllms_bench(agreement):
    bench = read(agreement / "run-1" / "bench.json")
    ours = read(agreement / "run-1" / "loadtest" / "result.json")
    assert bench.keys() - ours.keys() == set()
    assert {"p99_ttft_ms", "median_tpot_ms", "output_throughput", "request_goodput", "itls"} <= bench.keys()
    kinds = {key: (type(bench[key]), type(ours[key])) for key in bench if bench[key] is not None}
    assert [key for key, (theirs, own) in kinds.items() if theirs is not own and {theirs, own} != {int, float}] == []


def test_both_did_the_same_work(agreement):
    bench = read(agreement / "run-1" / "bench.json")
    ours = read(agreement / "run-1" / "loadtest" / "result.json")
    for result in (bench, ours):
        assert (result["completed"], result["failed"]) == (REQUESTS, 0)
        assert result["output_lens"] == [5] * REQUESTS
    assert "Single runs" in (agreement / "report.md").read_text()


def test_visual_tokens_are_those_of_the_servers_own_account(server: Server, tmp_path):
    options = {
        "users": 2,
        "sessions": 8,
        "keep_ratios": "1,0.25",
        "image_size": "112x112",
        "max_tokens": 4,
        "ignore_eos": True,
    }
    result = run_locust(server.url, tmp_path, {**options, "scenarios": "single,multi-turn,text", "length": 2})
    assert (result["failed"], result["total_output_tokens"]) == (0, 4 * result["completed"])
    shown = [request for request in result["sppruner"]["requests"] if request["scenario"] != "text"]
    assert {(request["keep_ratio"], request["visual_original"], request["visual_retained"]) for request in shown} <= {
        (1.0, 16, 16),
        (0.25, 16, 4),
    }
    assert {request["keep_ratio"] for request in shown} == {1.0, 0.25}
    assert result["sppruner"]["server"]["kv_cache_usage"]["max"] <= 1
