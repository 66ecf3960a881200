"""Images of different sizes as one padded batch on the device.

Few kernels for many images, nothing read back to the host, and a bound on the memory that padding may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from . import exact
from .types import ImageTokens

MAX_ELEMENTS: Final = 2**26
"""Padded entries (B * N * D) handled at once on an accelerator: 256 MiB of float32, fourteen images of 1,296 rows of
width 3,584. A larger image goes alone."""

MAX_ELEMENTS_CPU: Final = 2**22
"""The same on a CPU, where batches beyond the caches are slower than images one by one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded tensors of B images; N and T are the largest of the batch.

    images: the images themselves, in batch order.
    rows: (B, N, D) float32, finite, zero in padding; the steps may overwrite it.
    space: (B, N, F) float32, finite, zero in padding: what tokens are compared with each other by. `rows` itself, or
        another tensor where images come with the input of their merger; the steps may overwrite it.
    text: (B, T, D) float32, finite, zero in padding; the steps may overwrite it.
    index: (N,) int64, 0 to N - 1. behind: (N,) float64, N - 1 to 0.
    real: (B, N) bool, False in padding. words: (B, T) bool, the same for the query.
    size, height, width, query_size, budget: (B, 1) int64, the true N, grid, T and K of each image.
    edge_ends: (B, 1) int64, twice the pairs of tokens that share an edge, at least 1.
    attention: (B, N) float32, finite, not negative, zero in padding and for images without; None if no image has any.
    attended: (B, 1) int64, 1 for an image with attention, else 0.
    repeats: (B, N) float32 in [0, 1], zero in padding and for images without; None if no image has any.
    full: whether no image has padding. spoken: whether no query has padding.
    """

    images: tuple[ImageTokens, ...]
    rows: Tensor
    space: Tensor
    text: Tensor
    index: Tensor
    behind: Tensor
    real: Tensor
    words: Tensor
    size: Tensor
    height: Tensor
    width: Tensor
    edge_ends: Tensor
    query_size: Tensor
    attention: Tensor | None
    attended: Tensor
    repeats: Tensor | None
    budget: Tensor
    full: bool
    spoken: bool

    def within(self, values: Tensor, fill: float) -> Tensor:
        """(B, N) or (B, T, N) values, with `fill` in the padding of images; the same tensor where there is none."""
        if self.full:
            return values
        return torch.where(self.real if values.ndim == 2 else self.real.unsqueeze(1), values, fill)

    def keys(self, values: Tensor) -> Tensor:
        """(B, N) float64 that rank like the values, no two alike: the lower index first among equals.

        Whole numbers, so exact. Those of values that are not negative are not negative either.

        Args:
            values: (B, N) float64 in whole steps of 1 / `exact.STEPS`, at most 2**10.
        """
        return torch.add(self.behind, values, alpha=exact.STEPS * len(self.behind))


def sub_batches(images: Sequence[ImageTokens], max_elements: int | None = None) -> Iterator[list[int]]:
    """Indices of the images, in groups of like size whose padded rows hold at most `max_elements` entries.

    Those of a group all come with the input of their merger, of one width, or all without.

    Args:
        images: at least one.
        max_elements: None takes the bound of the images' device.
    """
    if max_elements is None:
        max_elements = MAX_ELEMENTS_CPU if images[0].rows.device.type == "cpu" else MAX_ELEMENTS
    group: list[int] = []
    for index in sorted(range(len(images)), key=lambda i: (_space_width(images[i]), -images[i].rows.shape[0])):
        first = images[group[0]] if group else images[index]
        entries = first.rows.numel() + len(first.rows) * _space_width(first)
        apart = _space_width(first) != _space_width(images[index])
        if group and (apart or (len(group) + 1) * entries > max_elements):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _space_width(image: ImageTokens) -> int:
    """Width of the space in which tokens are compared, where that is not the rows' own; else 0."""
    return 0 if image.merger_input is None else image.merger_input.shape[-1]


def pad(images: Sequence[ImageTokens]) -> Batch:
    """One padded batch; entries that are not finite count as zero.

    Args:
        images: checked images of one width and device, at least one, as `sub_batches` groups them.
    """
    device = images[0].rows.device
    numbers = [
        (len(image.rows), *image.grid, _edge_ends(*image.grid), image.words, image.attention is not None, image.budget)
        for image in images
    ]
    size, height, width, edge_ends, query_size, attended, budget = columns(numbers, device)
    rows = _stack([image.rows for image in images])
    text = _stack([image.rows[:0] if image.query is None else image.query for image in images])
    index = torch.arange(rows.shape[1], device=device)
    mergers = [image.merger_input for image in images if image.merger_input is not None]
    return Batch(
        images=tuple(images),
        rows=rows,
        space=_stack([patch_means(given) for given in mergers]) if mergers else rows,
        text=text,
        index=index,
        behind=torch.arange(rows.shape[1] - 1, -1, -1, dtype=torch.float64, device=device),
        real=index < size,
        words=torch.arange(text.shape[1], device=device) < query_size,
        size=size,
        height=height,
        width=width,
        edge_ends=edge_ends,
        query_size=query_size,
        attention=_of_each([image.attention for image in images], rows),
        attended=attended,
        repeats=_of_each([image.repeats for image in images], rows),
        budget=budget,
        full=all(len(image.rows) == rows.shape[1] for image in images),
        spoken=all(image.words == text.shape[1] for image in images),
    )


def by_states(batch: Batch) -> Batch | None:
    """The same images with their states in place of the query; None where no image has any."""
    if all(image.states is None for image in batch.images):
        return None
    images = tuple(replace(image, query=image.states) for image in batch.images)
    (size,) = columns([(image.words,) for image in images], batch.real.device)
    text = _stack([image.rows[:0] if image.query is None else image.query for image in images])
    return replace(
        batch,
        images=images,
        text=text,
        words=torch.arange(text.shape[1], device=batch.real.device) < size,
        query_size=size,
        spoken=all(image.words == text.shape[1] for image in images),
    )


def patch_means(patches: Tensor) -> Tensor:
    """(N, F) float32, the mean of each token's patches, every patch scaled to a root mean square of 1.

    Qwen's merger begins with the same scaling: a few patches of a great norm would decide every mean and every cosine.

    Args:
        patches: (N, M, F), any floating dtype.
    """
    exact = patches.to(torch.float32).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return (exact / exact.square().mean(-1, keepdim=True).sqrt_().clamp_min_(1e-20)).mean(1)


def upload(values: Tensor, device: torch.device) -> Tensor:
    """A host tensor on the device, without the host waiting: only pinned memory is copied behind its back."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def columns(numbers: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, ...]:
    """Whole numbers known on the host, as many for each image, as one (B, 1) int64 tensor each on the device."""
    return tuple(upload(torch.tensor(numbers, dtype=torch.int64, device="cpu"), device).split(1, dim=1))


def per_image(numbers: Sequence[int], device: torch.device) -> Tensor | int:
    """A whole number for each image as (B, 1) int64; itself where it is the same for all, which spares the way."""
    if len(set(numbers)) == 1:
        return numbers[0]
    return columns([(number,) for number in numbers], device)[0]


def per_token(parts: Sequence[Tensor], batch: Batch) -> Tensor:
    """(B, N) int64 on the device of one (n,) int64 tensor on the host for each image; padding holds its own index."""
    if batch.full and all(part is parts[0] for part in parts):
        return upload(parts[0], batch.real.device).expand(len(parts), -1)
    whole = torch.arange(batch.real.shape[1], device="cpu").repeat(len(parts), 1)
    for slot, part in zip(whole, parts, strict=True):
        slot[: len(part)] = part
    return upload(whole, batch.real.device)


def _edge_ends(height: int, width: int) -> int:
    return max(1, 2 * (height * (width - 1) + width * (height - 1)))


def _of_each(values: Sequence[Tensor | None], rows: Tensor) -> Tensor | None:
    """(B, N) of a number that is not negative for each token; None where no image has any."""
    if all(one is None for one in values):
        return None
    parts = [rows.new_zeros(0) if one is None else one for one in values]
    stacked = _stack([part.unsqueeze(1) for part in parts]).squeeze(-1)
    return torch.nn.functional.pad(stacked.clamp_min_(0.0), (0, rows.shape[1] - stacked.shape[1]))


def _stack(parts: Sequence[Tensor]) -> Tensor:
    longest, width = max(part.shape[0] for part in parts), parts[0].shape[1]
    out = torch.empty(len(parts), longest, width, dtype=torch.float32, device=parts[0].device)
    for slot, part in zip(out, parts, strict=True):
        slot[: len(part)].copy_(part)
        if len(part) < longest:
            slot[len(part) :].zero_()
    return out.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
