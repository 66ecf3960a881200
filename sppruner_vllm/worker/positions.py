"""Positions of a prompt whose images lost tokens.

Kept tokens keep the (t, h, w) they had in the unreduced prompt, and later text continues where it would have. The
prompt alone fixes everything but the rows of reduced images; those learn their offsets from columns that travel with
the embeddings through vLLM's encoder cache. A model with positions on a line is the case of a picture one token wide.
Pure torch, no vLLM. docs/develop/algorithm.md, "Positions".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.family import MediaSpan
from sppruner_vllm.planning.videos import FrameGrid
from sppruner_vllm.wire import MOST_TOKENS

COLUMNS: Final = 6
"""Extra columns of a packed row: height, width and ordinal, two base-256 digits each, exact in bfloat16."""

_BASE: Final = math.isqrt(MOST_TOKENS)
"""Two digits hold the ordinals of the largest image."""

_NO_PLACE: Final = "embedding rows fit no image of the prompt"


def pack(rows: Tensor, kept: Tensor, grid_width: int) -> Tensor:
    """Kept rows with their grid offsets appended.

    Args:
        rows: (K, D) kept rows in raster order.
        kept: (K,) int64 raster indices into the unreduced grid.
        grid_width: merged visual tokens per grid row.

    Returns:
        (K, D + COLUMNS) in the dtype of `rows`; the first D columns are copies.
    """
    ordinal = torch.arange(kept.numel(), device=kept.device)
    values = torch.stack([kept // grid_width, kept % grid_width, ordinal], dim=1)
    digits = torch.stack([values // _BASE, values % _BASE], dim=2).flatten(1)
    return torch.cat([rows, digits.to(device=rows.device, dtype=rows.dtype)], dim=1)


def pack_frames(rows: Sequence[Tensor], kept: Sequence[Tensor], grid: FrameGrid, *, together: bool) -> Tensor:
    """Kept rows of a video with their places inside their frames appended.

    Args:
        rows: (K_f, D) kept rows of each frame.
        kept: (K_f,) int64 of each frame, raster indices into the frame, at least one of the first frame.
        grid: (frames, height, width) of the unreduced video.
        together: the prompt has one run of placeholders for all frames, in place of one for each.

    Returns:
        (K, D + COLUMNS), as `pack` gives it; ordinals count from the start of the run.
    """
    packed = torch.cat([pack(part, places, grid[2]) for part, places in zip(rows, kept, strict=True)])
    if together:
        ordinal = torch.arange(len(packed), device=packed.device)
        packed[:, -2], packed[:, -1] = ordinal // _BASE, ordinal % _BASE
    return packed


def initial_positions(num_tokens: int, spans: Sequence[MediaSpan]) -> tuple[Tensor, int]:
    """Positions of a reduced prompt before any embedding is known.

    Text, unreduced media and the time row are final. The rows of a reduced image sit at its first position until
    `place_rows` moves them.

    Args:
        num_tokens: length of the reduced prompt.
        spans: its media by ascending offset.

    Returns:
        (3, num_tokens) int64 positions on the CPU, and the delta that turns a token index into a decode position:
        that of the unreduced prompt.
    """
    positions = torch.empty(3, num_tokens, dtype=torch.int64)
    index = position = 0
    for span in spans:
        index, position = _write_text(positions, index, span.offset, position)
        block = torch.cartesian_prod(*(torch.arange(size) for size in span.grid)).T
        block[0] = (block[0] * span.frame_step).long()
        end = span.offset + span.length
        positions[:, index:end] = position if span.reduced else position + block
        if span.kept:
            times = block[0, :: span.grid[1] * span.grid[2]]
            positions[0, index:end] += times.repeat_interleave(torch.tensor(span.kept))
        index, position = end, position + int(block.max()) + 1
    _, position = _write_text(positions, index, num_tokens, position)
    return positions, position - num_tokens


def _write_text(positions: Tensor, start: int, end: int, position: int) -> tuple[int, int]:
    positions[:, start:end] = torch.arange(position, position + end - start)
    return end, position + end - start


def unpack(embeddings: Sequence[Tensor], width: int) -> list[Tensor]:
    """Rows without their columns: (K, width) views; rows that carry none come back as they are."""
    return [rows[:, :width] if is_packed(rows, width) else rows for rows in embeddings]


def is_packed(rows: Tensor, width: int) -> bool:
    """Whether rows of `width` features carry our columns."""
    return rows.shape[1] == width + COLUMNS


def place_rows(
    positions: Tensor,
    embeddings: Sequence[Tensor],
    width: int,
    num_computed: int,
    still: int = 0,
    frames: Tensor | None = None,
) -> Tensor:
    """Positions with the reduced images of this step's window at their original grid places.

    Rows are matched to prompt indices by rank among media rows and by ordinal inside their image, so any cut of an
    image into chunks works, and a window that a drafter shifted by one is recognised. Media rows are told from text by
    the `still` row of positions, in M-RoPE that of time: it stands still inside an image and always moves between
    texts. It moves inside a video, though, whose frames may be single tokens: `frames` tells what is of one, and that
    tokens of videos side by side are of one. The first of them is of the first frame, from whose place the grid of all
    is counted. Runs on the device of `positions` without reading anything back.

    Args:
        positions: (3, N) int64 as `initial_positions` or an earlier call left them.
        embeddings: the window's rows, in prompt order; packed rows are wider than `width`.
        width: columns of an unpacked row.
        num_computed: prompt tokens before the window.
        still: the row that never moves; the two others take the grid row and the grid column, in this order.
        frames: (N,) bool, tokens of videos; None where the prompt has none.

    Returns:
        `positions` itself when nothing in the window was reduced, else a changed copy.

    Raises:
        RowCountError: the rows fit no place in the prompt; on a GPU, an assertion of the device.
    """
    if not any(is_packed(rows, width) for rows in embeddings):
        return positions
    device = positions.device
    packed, height, column, ordinal = _read_columns(embeddings, width, device)

    anchor = positions[still]
    same = anchor[1:] == anchor[:-1]
    edge = torch.zeros(1, dtype=torch.bool, device=device)
    follows = torch.cat([edge, same])
    media = follows | torch.cat([same, edge])
    if frames is not None:
        media |= frames
        # A run of video tokens is one medium, wherever time moves in it.
        follows = torch.where(frames, torch.cat([edge, frames[:-1]]), follows)
    index = torch.arange(anchor.numel(), device=device)
    run_start = torch.where(follows, 0, index).cummax(0).values
    rank = media.cumsum(0)
    before = rank[num_computed - 1] if num_computed else rank.new_zeros(())

    target = torch.zeros_like(ordinal)
    found = torch.zeros((), dtype=torch.bool, device=device)
    for shift in (1, 0):
        wanted = before + 1 + shift + torch.arange(ordinal.numel(), device=device)
        place = torch.searchsorted(rank, wanted).clamp(max=anchor.numel() - 1)
        fits = ((place - run_start[place] == ordinal) | ~packed).all() & (wanted[-1] <= rank[-1])
        target, found = torch.where(fits, place, target), found | fits
    if device.type == "cuda":
        # Raises too, but later: asking for the value here would make the host wait.
        torch._assert_async(found, _NO_PLACE)
    elif not found:
        raise RowCountError(_NO_PLACE)

    move = packed & found
    placed = positions.clone()
    moved = [row for row in range(3) if row != still]
    for row, offset in zip(moved, (height, column), strict=True):
        placed[row, target] = torch.where(move, anchor[run_start[target]] + offset, positions[row, target])
    return placed


def _read_columns(embeddings: Sequence[Tensor], width: int, device: torch.device) -> tuple[Tensor, ...]:
    """(R,) flags of packed rows, then their grid row, grid column and ordinal, zero where not packed."""
    digits = [
        rows[:, width:].to(device=device, dtype=torch.int64)
        if is_packed(rows, width)
        else torch.full((rows.shape[0], COLUMNS), -1, dtype=torch.int64, device=device)
        for rows in embeddings
    ]
    columns = torch.cat(digits)
    values = columns[:, 0::2] * _BASE + columns[:, 1::2]
    packed = columns[:, 0] >= 0
    height, column, ordinal = values.masked_fill(~packed[:, None], 0).unbind(1)
    return packed, height, column, ordinal
