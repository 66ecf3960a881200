"""Tensors that are kept for long own their memory, in whichever process; a view would keep a whole batch alive."""

from __future__ import annotations

from torch import Tensor


def owned(tensor: Tensor) -> Tensor:
    """The tensor itself where it is all of its memory, else a copy, which keeps no batch mates alive."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
