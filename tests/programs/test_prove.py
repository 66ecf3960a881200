"""The proof kit end to end on the demo model, without a network: killed on the way, resumed, reported.

`make test-prove`, some minutes: it makes the harness's environment and imports lmms-eval for every condition.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving import eventually

pytestmark = pytest.mark.skipif("SPPRUNER_TEST_PROVE" not in os.environ, reason="make test-prove")

SETS = "OCRBench,MMBench,POPE,RefCOCO"
FLAGS = ("--sets", SETS, "--methods", "focus_context,downscale", "--ratios", "0.222", "--limit", "4")
LIMIT = 1800


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in out.glob("answers/*.jsonl") for line in file.read_text().splitlines()]


def test_a_run_that_is_killed_goes_on_and_reports(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sppruner_vllm.evaluation.proof", *FLAGS, "--out", str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment) as process:
        assert eventually(lambda: len(lines(out)) >= 18 or process.poll() is not None, LIMIT)
        process.kill()  # alone: its server and lmms-eval are tied to it
    kept = lines(out)
    assert kept
    subprocess.run(command, env=environment, check=True, timeout=LIMIT)
    after = lines(out)
    assert after[: len(kept)] == kept or {json.dumps(one) for one in kept} <= {json.dumps(one) for one in after}
    assert len(after) == len({(one["run"], one["label"]) for one in after}) == 3 * 4 * 4
    report = json.loads((out / "report.json").read_text())
    assert [one["name"] for one in report["sets"]] == SETS.split(",")
    assert all(one["questions"] == 4 for one in report["sets"])
    retained = {name: one["tokens"] for one in report["sets"] for name in [one["name"]]}["POPE"]
    assert retained["full at 1"] == 256
    assert retained["focus_context at 0.222"] == 57
    assert 50 <= retained["downscale at 0.222"] <= 57
    text = (out / "report.md").read_text()
    assert "## Against downscale at equal tokens" in text
    assert "SIEVE" in text
