"""Puts beds' cases to vLLM and writes its answers: run in a process of its own, with plugins off."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from beds import BEDS, Bed
from cases import FAMILY_STOCK
from engines import ask, start_engine


def asked(bed: Bed, model: Path) -> dict[str, Any]:
    llm = start_engine(model, limit_mm_per_prompt=dict(bed.limits))
    (module,) = llm.apply_model(lambda model: type(model).__module__)
    return {"model_class": module, "answers": ask(llm, list(FAMILY_STOCK))}


if __name__ == "__main__":
    out, *beds = sys.argv[1:]
    torch.save({name: asked(BEDS[name], Path(folder)) for name, folder in zip(beds[::2], beds[1::2], strict=True)}, out)
