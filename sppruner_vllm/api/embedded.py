"""Pictures that come encoded: their rows have to be those of the picture that they say they are, or the engine dies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from vllm.multimodal.parse import DictEmbeddingItems, EmbeddingItems
from vllm.multimodal.processing.inputs import ProcessorInputs

from sppruner_vllm.errors import InvalidField
from sppruner_vllm.family import Family
from sppruner_vllm.planning.smaller import Grid

from .embedding_bytes import FIELD


def came_encoded(inputs: ProcessorInputs) -> bool:
    """Whether the pictures of a request did."""
    return isinstance(inputs.mm_data_items.get("image"), DictEmbeddingItems | EmbeddingItems)


def grid_of(item: Any, family: Family) -> Grid:
    """The visual tokens of a picture that was sent as rows.

    Args:
        item: as vLLM's parser holds it: the rows, or a mapping with them.

    Raises:
        InvalidField: there are other rows than the picture has visual tokens, or they are none that the model takes.
    """
    try:
        grid = family.embedded_grid(item)
    except Exception as error:  # of whatever shape it is
        raise misfit() from error
    rows = item.get(FIELD) if isinstance(item, Mapping) else item
    if min(grid) < 1:
        raise misfit()
    if rows is None:  # another process has them
        return grid
    if tuple(rows.shape) != (math.prod(grid), family.row_width):
        raise misfit(f": {grid[0]} x {grid[1]} visual tokens take as many rows of {family.row_width} values")
    if not (rows.is_floating_point() and torch.isfinite(rows).all()):
        raise misfit(": they must be finite floating-point numbers")
    return grid


def misfit(why: str = "") -> InvalidField:
    """The refusal of rows that are not those of a picture."""
    return InvalidField(FIELD, f"the embeddings of an image do not fit it{why}", code="invalid_image")
