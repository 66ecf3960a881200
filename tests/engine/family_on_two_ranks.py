"""Puts a bed's cases to two tensor-parallel ranks, and writes the answers and what each rank kept."""

from __future__ import annotations

import importlib
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from beds import BEDS
from cases import REDUCED
from engines import ask, encoder_runs, recorded_selections, start_engine

_recording = ExitStack()
_kept: list[list[int]] = []
_runs: list[int] = []


def record(model: Any) -> None:
    """On a rank: note what it keeps and encodes, from now on."""
    global _kept, _runs
    _kept = _recording.enter_context(recorded_selections())
    _runs = _recording.enter_context(encoder_runs(model))


def recorded(_: Any) -> tuple[list[list[int]], list[int]]:
    """On a rank: what it has kept since it was last asked, and pictures in each run of its encoder."""
    kept, runs = list(_kept), list(_runs)
    _kept.clear()
    _runs.clear()
    return kept, runs


def main(name: str, model: Path, out: Path) -> None:
    bed = BEDS[name]
    llm = start_engine(
        model,
        limit_mm_per_prompt=dict(bed.limits),
        tensor_parallel_size=2,
        distributed_executor_backend="mp",
    )
    # By the name under which the ranks can import it, which "__main__" is not.
    rank = importlib.import_module("family_on_two_ranks")
    llm.apply_model(rank.record)
    said = {}
    for index, case in enumerate(REDUCED):
        for ratio in (1.0, bed.ratios[1]):
            (answer,) = ask(llm, [case], ratio)
            kept, runs = zip(*llm.apply_model(rank.recorded), strict=True)
            said[index, ratio] = answer, list(kept), list(runs)
    torch.save(said, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
