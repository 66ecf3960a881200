"""The benchmark in its short form, on the tiny model; how long anything takes is not asserted."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from sppruner_vllm.evaluation.bench.engine import BLOCK
from sppruner_vllm.evaluation.bench.protocol import Done
from sppruner_vllm.evaluation.bench.rounds import CROWD, NEW, SECOND, TURN, load

BLOCKS = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "sppruner_vllm.evaluation.bench", "--smoke", "--out", str(out)]
    subprocess.run([*command, "--arms", "keep 1", "keep 0.222", "downscale 0.222"], check=True)
    return out


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, dict[str, Done]]:
    """By arm and measure, of the round that counts."""
    found: dict[str, dict[str, Done]] = defaultdict(dict)
    for record in load(folder / "tiny.jsonl"):
        if record.round == 0:
            found[record.arm][record.measure] = record.done
    return found


def test_every_arm_computes_and_stores_what_it_retains(measured: dict[str, dict[str, Done]]) -> None:
    whole = measured["stock vLLM"][NEW].replies[0].prompt
    for arm, retained in (("stock vLLM", 144), ("keep 1", 144), ("keep 0.222", 32), ("downscale 0.222", 30)):
        assert measured[arm][NEW].kv_tokens == whole - 144 + retained


def test_the_encoder_runs_for_a_new_picture_and_not_for_a_second_turn(
    measured: dict[str, dict[str, Done]],
) -> None:
    for arm in measured.values():
        assert (arm[NEW].encoder_runs, arm[TURN].encoder_runs) == (1, 0)
    assert measured["stock vLLM"][SECOND].encoder_runs == measured["keep 1"][SECOND].encoder_runs == 0


def test_the_parts_are_parts(measured: dict[str, dict[str, Done]]) -> None:
    for arm in measured.values():
        new = arm[NEW]
        assert 0 < new.encoding + new.selection < new.first_steps < new.engine
    assert measured["keep 1"][NEW].selection == 0 < measured["keep 0.222"][NEW].selection


def test_a_kv_cache_holds_as_many_requests_as_their_blocks_leave_room_for(measured: dict[str, dict[str, Done]]) -> None:
    for arm in measured.values():
        crowd = arm[CROWD]
        assert crowd.running == BLOCKS // -(-crowd.replies[0].prompt // BLOCK)


def test_report_and_plots_are_written(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert "keep 0.222" in text
    assert "Other programs took" in text
    assert {file.name for file in folder.glob("*.png")} == {"bench-first-token.png", "bench-load.png"}
