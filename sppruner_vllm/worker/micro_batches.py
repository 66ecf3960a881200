"""Parts of a batch of encoder inputs: runs of images within the memory that vLLM profiled, or any images of it.

A scheduler that counts retained tokens, as vLLM's does without ours, may bring many times the tokens that start-up
measured. Cutting a batch by unreduced tokens keeps the peak where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor


def micro_batches(sizes: Sequence[int], budget: int) -> Iterator[slice]:
    """Consecutive runs of images of at most `budget` tokens; a larger image makes a run of its own.

    Args:
        sizes: unreduced visual tokens per image.
        budget: most tokens per run, at least 1.
    """
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > budget:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))


Rows: TypeAlias = Mapping[str, Sequence[int] | None]
"""Rows per image of each input that is flat over images; None for one that all images share."""


def cut(inputs: Mapping[str, Any], images: slice, rows: Rows) -> dict[str, Any]:
    """The part of a batch of encoder inputs that belongs to some of its images.

    Args:
        inputs: tensors by name; those that `rows` does not name have one entry per image.
        images: which images.
    """
    part: dict[str, Any] = {}
    for name, value in inputs.items():
        if name not in rows:
            part[name] = value[images]
        elif (own := rows[name]) is None:
            part[name] = value
        else:
            begin = sum(own[: images.start])
            part[name] = value[begin : begin + sum(own[images])]
    return part


def parts(
    inputs: dict[str, Any], sizes: Sequence[int], budget: int | None, rows_of: Callable[[Mapping[str, Any]], Rows]
) -> Iterator[tuple[slice, dict[str, Any]]]:
    """A batch of encoder inputs in micro-batches: which images, and their inputs.

    Args:
        inputs: as for `cut`. sizes, budget: as for `micro_batches`; None leaves the batch in one piece.
        rows_of: gives the rows of the inputs; not asked of a batch that stays in one piece.
    """
    if budget is None or sum(sizes) <= budget:
        yield slice(0, len(sizes)), inputs
        return
    rows = rows_of(inputs)
    for images in micro_batches(sizes, budget):
        yield images, cut(inputs, images, rows)


def pick(inputs: Mapping[str, Any], images: Sequence[int], rows: Rows) -> dict[str, Any]:
    """The part of a batch of encoder inputs that belongs to any of its images; neighbours cost no copy.

    Args:
        inputs, rows: as for `cut`, over all images.
        images: which, at least one, ascending.
    """
    parts = [cut(inputs, run, rows) for run in _runs(images)]
    if len(parts) == 1:
        return parts[0]
    shared = {name for name in inputs if name in rows and rows[name] is None}
    return {name: inputs[name] if name in shared else _joined([part[name] for part in parts]) for name in inputs}


def _runs(images: Sequence[int]) -> Iterator[slice]:
    starts = [images[0], *(after for before, after in pairwise(images) if after != before + 1)]
    ends = [*(before + 1 for before, after in pairwise(images) if after != before + 1), images[-1] + 1]
    return map(slice, starts, ends)


def _joined(parts: Sequence[Any]) -> Any:
    """Tensors one after the other, or the entries of lists."""
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(list(parts))
    return [entry for part in parts for entry in part]
