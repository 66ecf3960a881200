"""Writes the files of a checkpoint: what transformers and vLLM load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig


def write_checkpoint(
    folder: Path,
    model: Any,
    tokenizer: Any,
    chat_template: str,
    rename: Callable[[str], str] = lambda name: name,
    lay_out: Callable[[str, Tensor], Tensor] = lambda _, weight: weight,
) -> None:
    """Configuration, weights in float32, tokenizer and chat template of one model.

    Args:
        folder: made if it is not there.
        rename: from the name of a parameter in transformers to its name in the checkpoint.
        lay_out: a parameter as the checkpoint holds it, of its name and value in transformers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    weights = {rename(name): lay_out(name, weight) for name, weight in model.state_dict().items()}
    write_weights(folder, weights, tokenizer, chat_template)


def write_weights(folder: Path, weights: Mapping[str, Tensor], tokenizer: Any, chat_template: str) -> None:
    """All of a checkpoint but its configuration. Args: folder: is there."""
    GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    ).save_pretrained(folder)
    laid_out = {name: weight.contiguous() for name, weight in weights.items()}
    save_file(laid_out, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)


def twin_of(folder: Path) -> Path:
    """The folder of a model as transformers knows it: beside one in a format that it does not know, else the same."""
    twin = folder.with_name(f"{folder.name}-transformers")
    return twin if twin.exists() else folder
