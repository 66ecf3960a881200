"""Each fault in the worker on runner V2 is noticed by the short scenarios: the comparison can fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from models import MODELS, Model
from outcomes import Report, differences
from runners import V1, Reporter, Runner
from scenarios import SHORT


@pytest.mark.parametrize("fault", ["rows unplaced", "answers moved by one"])
def test_a_fault_changes_answers(
    report: Reporter, second_runner: Runner, checkpoint: Callable[[Model], Path], tmp_path: Path, fault: str
) -> None:
    right = report(V1, MODELS[0], SHORT)
    wrong = second_runner.ask(checkpoint(MODELS[0]), SHORT.name, tmp_path / "report.json", fault)
    assert isinstance(wrong, Report), wrong
    noticed = {name for name, outcome in right.outcomes.items() if differences(outcome, wrong.outcomes[name])}
    assert noticed == {step.name for step in SHORT.steps} - {"scene at 1"}


def test_a_forgotten_chunk_start_is_an_error(
    second_runner: Runner, checkpoint: Callable[[Model], Path], tmp_path: Path
) -> None:
    output = second_runner.ask(checkpoint(MODELS[0]), SHORT.name, tmp_path / "report.json", "chunk start forgotten")
    assert isinstance(output, str)
    assert "RowCountError" in output
