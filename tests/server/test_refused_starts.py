"""Options that do not go with reduction end the start with a reason, not with wrong answers later."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from serving import CPU_ENVIRONMENT, START_SECONDS, command_of, program
from sppruner_vllm.demo.server_process import free_port

REFUSED = {
    ("--video-pruning-rate", "0.5"): "visual-token reduction and --video-pruning-rate exclude each other",
    ("--pipeline-parallel-size", "2"): "visual-token reduction needs --pipeline-parallel-size 1",
}

Ends = dict[tuple[str, str], tuple[int, str]]
"""By flags: the status with which a server ended, and its log."""


@pytest.fixture(scope="module")
def ends(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """All of them at once: what takes its time is the start."""
    logs = {flags: tmp_path_factory.mktemp("refused") / "server.log" for flags in REFUSED}
    with ExitStack() as stack:
        started = {
            flags: stack.enter_context(program(command_of(tiny_model, free_port(), *flags), log, CPU_ENVIRONMENT))
            for flags, log in logs.items()
        }
        return {flags: (process.wait(START_SECONDS), logs[flags].read_text()) for flags, process in started.items()}


@pytest.mark.parametrize("flags", REFUSED, ids=" ".join)
def test_an_option_that_breaks_positions_is_refused(ends: Ends, flags: tuple[str, str]) -> None:
    status, log = ends[flags]
    assert status != 0
    assert REFUSED[flags] in log
