"""Puts a bed's cases to vLLM and writes its answers: run in a process of its own, with plugins off."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from beds import BEDS
from cases import FAMILY_STOCK
from engines import ask, start_engine

if __name__ == "__main__":
    bed, model, out = BEDS[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
    llm = start_engine(model, limit_mm_per_prompt=dict(bed.limits))
    (module,) = llm.apply_model(lambda model: type(model).__module__)
    torch.save({"model_class": module, "answers": ask(llm, list(FAMILY_STOCK))}, out)
