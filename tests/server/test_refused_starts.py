"""Options that do not go with reduction end the start with a reason, not with wrong answers later."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import serving

TWO_WORKERS = {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}
"""vLLM binds each CPU worker to a NUMA node of its own unless told otherwise, and a small machine has one."""


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--video-pruning-rate", "0.5"), "visual-token reduction and --video-pruning-rate exclude each other"),
        (("--pipeline-parallel-size", "2"), "visual-token reduction needs --pipeline-parallel-size 1"),
    ],
)
def test_an_option_that_breaks_positions_is_refused(
    tiny_model: Path, tmp_path: Path, flags: tuple[str, ...], reason: str
) -> None:
    log = tmp_path / "server.log"
    with pytest.raises(RuntimeError, match="ended with status"), serving(tiny_model, log, *flags, env=TWO_WORKERS):
        pass
    assert reason in log.read_text()
