"""Writes the trained model as a checkpoint that vLLM and transformers load."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from sppruner_vllm.demo.checkpoint import answering, save_chat, save_checkpoint
from sppruner_vllm.demo.llava_files import hub_name, write_clip_processor
from sppruner_vllm.demo.tiny_spec import TinyModelSpec

from .large import GAPS
from .llava import TOGETHER
from .llava_student import PATCH, SIDE, new_llava_student
from .packing import tokenizer
from .run import SEED, learnt, load_weights
from .stages import FINISH
from .student import DEMO_SPEC, Student, new_student
from .wild import WILD_SPEC, WILD_STAGES, new_wild_student

LATER: Final = 2 / 3
"""Share of what the last stage ended with; the rest is what the model was before it was taught large pictures."""


def export(checkpoints: Path, folder: Path) -> None:
    """Write the mean of two stages' weights, in bfloat16, with configuration, tokenizer and chat template.

    A model that was taught on does what it was taught, and the mean with what it was before keeps what that did better
    (Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903).

    Args:
        checkpoints: folder that `train` wrote to. folder: where to write; made where it is missing.
    """
    before, after = (learnt(checkpoints, stage.name) for stage in (FINISH, GAPS))
    mean = {name: torch.lerp(before[name], weight, LATER) for name, weight in after.items()}
    _write(DEMO_SPEC, new_student(SEED), [before, mean], folder)


def export_wild(checkpoints: Path, folder: Path) -> None:
    """Write the wild test bed: the frozen language model, and the merger that was fitted to it. As `export` does."""
    _write(WILD_SPEC, new_wild_student(SEED), [learnt(checkpoints, name) for name in WILD_STAGES], folder)


def _write(spec: TinyModelSpec, student: Student, stages: Iterable[dict[str, Tensor]], folder: Path) -> None:
    for weights in stages:
        load_weights(student, weights)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, spec, student.model.eval(), tokenizer())


def export_llava(checkpoints: Path, folder: Path) -> None:
    """Write the LLaVA bed under the names that LLaVA-1.5 has on the hub. As `export` does."""
    student = new_llava_student(SEED)
    load_weights(student, learnt(checkpoints, TOGETHER.name))
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
