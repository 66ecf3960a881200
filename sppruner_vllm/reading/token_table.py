"""A table of middle states: what a language model's first layers make of each token of its vocabulary, read alone.

Built once per checkpoint (`python -m sppruner_vllm.state_table`), for language models whose layers a worker cannot
run by themselves. One safetensors file; what it is of stands in its head, which takes no time to read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sppruner_vllm.errors import UnsupportedSetup

PROBES: Final = 64
"""Tokens whose embeddings are kept beside the table, to know its checkpoint by."""

_DIGEST: Final = "sppruner_digest"
_LAYERS: Final = "sppruner_layers"
_LIKE: Final = 0.02
"""How far, in their own length, embeddings may be from the table's: bfloat16 rounds by 0.004."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What a table file holds.

    states: (V, D) float16 or bfloat16, of each token alone. mean: (D,) float32, of the captions' words.
    probes: (P, D) float32, embeddings of the tokens that `probed` names. layers: that the tokens went through.
    """

    states: Tensor
    mean: Tensor
    probes: Tensor
    layers: int

    def save(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {"states": self.states.contiguous(), "mean": self.mean, "probes": self.probes}
        digest = hashlib.sha256()
        for tensor in tensors.values():
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
        part = file.with_name(f"{file.name}.part")
        save_file(tensors, part, {_DIGEST: digest.hexdigest(), _LAYERS: str(self.layers)})
        part.replace(file)

    def is_of(self, embeddings: Tensor) -> bool:
        """Whether the table was made of the checkpoint with these embeddings.

        Args:
            embeddings: (P, D) of the tokens that `probed` names.
        """
        if embeddings.shape != self.probes.shape:
            return False
        own = self.probes.to(embeddings.device)
        return bool((embeddings.float() - own).norm() <= _LIKE * own.norm())


def probed(vocabulary: int) -> list[int]:
    """Tokens all over a vocabulary."""
    return list(range(0, vocabulary, max(1, vocabulary // PROBES)))[:PROBES]


def load(file: Path, device: torch.device | str = "cpu") -> TokenTable:
    """Read a table.

    Raises:
        UnsupportedSetup: it is no table.
    """
    try:
        with safe_open(file, "pt", device=str(device)) as held:
            head = _head(held, file)
            found = {name: held.get_tensor(name) for name in ("states", "mean", "probes")}
    except (OSError, SafetensorError) as problem:
        raise UnsupportedSetup(f"SPPRUNER_STATE_TABLE={file}: {problem}") from problem
    return TokenTable(found["states"], found["mean"], found["probes"], int(head[_LAYERS]))


def digest(file: Path) -> str:
    """What tells tables apart; their contents are not read.

    Raises:
        UnsupportedSetup: it is no table.
    """
    try:
        with safe_open(file, "pt") as held:
            return _head(held, file)[_DIGEST]
    except (OSError, SafetensorError) as problem:
        raise UnsupportedSetup(f"SPPRUNER_STATE_TABLE={file}: {problem}") from problem


def _head(held: Any, file: Path) -> dict[str, str]:
    head: dict[str, str] = held.metadata() or {}
    if not {_DIGEST, _LAYERS} <= head.keys():
        raise UnsupportedSetup(f"SPPRUNER_STATE_TABLE={file} is no table of middle states")
    return head
