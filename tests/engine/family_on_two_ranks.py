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
from engines import ask, recorded_selections, start_engine

_recording = ExitStack()
_kept: list[list[int]] = []


def record(_: Any) -> None:
    """On a rank: note what it keeps, from now on."""
    global _kept
    _kept = _recording.enter_context(recorded_selections())


def recorded(_: Any) -> list[list[int]]:
    """On a rank: what it has kept since it was last asked."""
    kept = list(_kept)
    _kept.clear()
    return kept


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
            said[index, ratio] = answer, llm.apply_model(rank.recorded)
    torch.save(said, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
