"""The evaluation against a real server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from serving import metric, png
from sppruner_vllm.evaluation.asking import Manner
from sppruner_vllm.evaluation.conditions import FULL, Condition
from sppruner_vllm.evaluation.over_http import HttpAsker
from sppruner_vllm.evaluation.questions import Picture, Question
from sppruner_vllm.evaluation.turns import Turn
from sppruner_vllm.reduction import DEFAULT_METHOD

QUESTION = Question("q", (Picture("p", lambda: png(336, 336, 77)),), "what is this", ("a cat",))


def write_dataset(folder):
    """Ten pictures, given as files, data URLs and plain base64, one question each; the last one asks about two."""
    given = []
    for seed in range(10):
        content = png(336, 336, seed)
        (folder / f"{seed}.png").write_bytes(content)
        text = base64.b64encode(content).decode()
        given.append((f"{seed}.png", f"data:image/png;base64,{text}", text)[seed % 3])
    metrics = [
        {"answer": "a cat", "metric": "anls"},
        {"answer": ["a cat", "a dog"], "metric": "contains"},
        {"answer": "12.5", "metric": "number", "tolerance": 0.1},
        {"answer": "B", "metric": "choice"},
        {"answer": "a cat"},
    ]
    lines = [
        {"image": image, "question": "what is this", "family": f"kind {index % 2}", **metrics[index % len(metrics)]}
        for index, image in enumerate(given)
    ]
    lines[-1]["images"] = [lines[-1].pop("image"), "0.png"]
    path = folder / "ten.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run(*options):
    command = [sys.executable, "-m", "sppruner_vllm.evaluation", "run", "--max-tokens", "4", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(folder):
    return (folder / "answers.jsonl").read_text().count('"kind": "answer"')


def test_a_dataset_of_ones_own_is_measured_as_it_is_served(server, tmp_path):
    options = ["--url", server.url, "--dataset", write_dataset(tmp_path), "--out", tmp_path]
    done = run(*options, "--ratios", "0.5,0.25")
    assert done.returncode == 0, done.stderr
    assert "--allow-reduction-method" in " ".join(done.stderr.split())

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"] == 10
    rows = {(row["method"], row["ratio"]): row for row in report["rows"]}
    # Ten questions, eleven pictures.
    assert {where: row["retained"] for where, row in rows.items()} == {
        ("full", 1.0): pytest.approx(144 * 1.1),
        ("focus_context", 0.5): pytest.approx(72 * 1.1),
        ("focus_context", 0.25): pytest.approx(36 * 1.1),
    }
    assert all(row["ttft"] > 0 and row["throughput"] > 0 for row in report["rows"])

    assert answers(tmp_path) == 10 * 3
    again = run(*options, "--ratios", "0.5")
    assert again.returncode == 0, again.stderr
    assert answers(tmp_path) == 10 * 3


def test_no_answer_is_timed_on_the_back_of_an_earlier_one(server, client):
    with HttpAsker(server.url, None, Manner(max_tokens=1), 1) as asker:
        before = metric(client, "vllm:prefix_cache_hits_total")
        asker.ask([QUESTION, QUESTION], FULL)
        assert metric(client, "vllm:prefix_cache_hits_total") - before < 32


def test_the_servers_model_is_known_by_its_weights(server):
    with HttpAsker(server.url, None, Manner(), 1) as asker:
        assert asker.model == "tiny"
        assert asker.stamp


def test_a_second_turn_is_asked_about_the_picture_of_the_first(server):
    """The picture is cut as if the first question had been asked alone, and the earlier turn is in the prompt."""
    turn = Turn("where is the cat", "top left")
    with HttpAsker(server.url, None, Manner(max_tokens=1), 1) as asker:
        half = Condition(DEFAULT_METHOD, 0.5)
        assert asker.usable(QUESTION, [FULL, half]).conditions == [FULL, half]
        asked = [QUESTION, replace(QUESTION, before=(turn,)), replace(QUESTION, focus=turn.text)]
        alone, later, steered = asker.ask(asked, half)
    assert (later.original, later.retained) == (alone.original, alone.retained) == (144, 72)
    assert later.prompt_tokens > alone.prompt_tokens == steered.prompt_tokens
