"""Writes the trained model as a checkpoint that vLLM and transformers load."""

from __future__ import annotations

from pathlib import Path

import torch

from sppruner_vllm.demo.checkpoint import save_checkpoint

from .packing import tokenizer
from .run import SEED, load_weights
from .stages import FINISH
from .student import DEMO_SPEC, new_student
from .wild import WILD_SPEC, WILD_STAGES, new_wild_student


def export(checkpoints: Path, folder: Path) -> None:
    """Write the weights of the last stage, in bfloat16, with configuration, tokenizer and chat template.

    Args:
        checkpoints: folder that `train` wrote to. folder: where to write; made where it is missing.
    """
    student = new_student(SEED)
    load_weights(student, torch.load(checkpoints / f"{FINISH.name}.pt", weights_only=True)["weights"])
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, DEMO_SPEC, student.model.eval(), tokenizer())


def export_wild(checkpoints: Path, folder: Path) -> None:
    """Write the wild test bed: the frozen language model, and the merger that was fitted to it. As `export` does."""
    student = new_wild_student(SEED)
    for name in WILD_STAGES:
        load_weights(student, torch.load(checkpoints / f"{name}.pt", weights_only=True)["weights"])
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, WILD_SPEC, student.model.eval(), tokenizer())
