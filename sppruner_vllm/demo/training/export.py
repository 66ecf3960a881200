"""Writes the trained model as a checkpoint that vLLM and transformers load."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from sppruner_vllm.demo.checkpoint import answering, save_chat, save_checkpoint
from sppruner_vllm.demo.llava_files import hub_name, write_clip_processor

from .llava import TOGETHER
from .llava_student import PATCH, SIDE, new_llava_student
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


def export_llava(checkpoints: Path, folder: Path) -> None:
    """Write the LLaVA bed under the names that LLaVA-1.5 has on the hub. As `export` does."""
    student = new_llava_student(SEED)
    load_weights(student, torch.load(checkpoints / f"{TOGETHER.name}.pt", weights_only=True)["weights"])
    folder.mkdir(parents=True, exist_ok=True)
    model, spoken = student.model.to(torch.bfloat16), tokenizer()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    answering(spoken).save_pretrained(folder)
    weights = {hub_name(name): weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_chat(folder, spoken)
    write_clip_processor(
        folder,
        "LlavaProcessor",
        SIDE,
        {"image_processor_type": "CLIPImageProcessor"},
        image="<|image_pad|>",
        patch=PATCH,
    )
