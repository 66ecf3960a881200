"""The harder exam in its short form: one question of each family on a picture of 448 pixels, of the demo model."""

from __future__ import annotations

import json

from sppruner_vllm.demo.world.hard_exam import HARD_FAMILIES
from sppruner_vllm.evaluation.__main__ import main

SMALL = HARD_FAMILIES[:6]
"""The large pictures come last; encoding one takes seconds."""


def test_the_exam_is_asked_reported_by_family_and_never_asked_twice(tmp_path):
    command = ["run", "--bare", "--dataset", "hard", "--limit", str(len(SMALL)), "--max-tokens", "3"]
    command += ["--methods", "focus_context", "--ratios", "0.111", "--out", str(tmp_path)]
    assert main(command) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["families"] == sorted(SMALL)
    assert {row["retained"] for row in report["rows"]} == {256.0, 29.0}
    assert (tmp_path / "families.png").is_file()

    asked = (tmp_path / "answers.jsonl").read_text().count('"kind": "answer"')
    assert asked == 2 * len(SMALL)
    assert main(command) == 0
    assert (tmp_path / "answers.jsonl").read_text().count('"kind": "answer"') == asked
