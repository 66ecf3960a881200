"""Positions of reduced prompts against the unreduced prompt they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sppruner_vllm.errors import RowCountError
from sppruner_vllm.worker.positions import COLUMNS, MediaSpan, initial_positions, pack, pack_frames, place_rows, unpack

WIDTH = 8


@dataclass
class Prompt:
    """A reduced prompt, its rows, and the positions that indexing the unreduced prompt gives."""

    length: int
    spans: list[MediaSpan]
    rows: list[Tensor]
    expected: Tensor
    unreduced_end: int


def build(parts: list[int | tuple[int, int, Tensor | None]], dtype: torch.dtype = torch.bfloat16) -> Prompt:
    """Parts are numbers of text tokens, or (height, width, kept) images; kept None keeps all."""
    columns: list[Tensor] = []
    spans: list[MediaSpan] = []
    rows: list[Tensor] = []
    length = position = 0
    for part in parts:
        if isinstance(part, int):
            columns.append((torch.arange(part) + position).expand(3, part))
            length, position = length + part, position + part
            continue
        height, width, kept = part
        cells = torch.arange(height * width) if kept is None else kept
        columns.append(torch.stack([torch.zeros_like(cells), cells // width, cells % width]) + position)
        spans.append(MediaSpan(length, cells.numel(), (1, height, width)))
        plain = torch.randn(cells.numel(), WIDTH).to(dtype)
        rows.append(plain if kept is None else pack(plain, kept, width))
        length, position = length + cells.numel(), position + max(height, width)
    return Prompt(length, spans, rows, torch.cat(columns, dim=1), position)


def window(prompt: Prompt, start: int, end: int) -> list[Tensor]:
    cuts = []
    for span, rows in zip(prompt.spans, prompt.rows, strict=True):
        first, last = max(start - span.offset, 0), min(end - span.offset, span.length)
        if first < last:
            cuts.append(rows[first:last])
    return cuts


def random_prompt(generator: torch.Generator) -> Prompt:
    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    parts: list[int | tuple[int, int, Tensor | None]] = [number(1, 6)]
    for _ in range(number(1, 5)):
        height, width = (1, number(300, 700)) if number(0, 12) == 0 else (number(2, 12), number(2, 12))
        total = height * width
        count = number(2, total)
        kept = torch.randperm(total, generator=generator)[:count].sort().values
        parts += [(height, width, kept if count < total and number(0, 4) else None), number(1, 6)]
    return build(parts)


@pytest.mark.parametrize("seed", range(100))
def test_any_cut_into_chunks_gives_the_positions_of_the_unreduced_prompt(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prompt = random_prompt(generator)
    positions, delta = initial_positions(prompt.length, prompt.spans)
    assert prompt.length + delta == prompt.unreduced_end
    computed = 0
    while computed < prompt.length:
        size = int(torch.randint(1, 40, (1,), generator=generator))
        end = min(computed + size, prompt.length)
        positions = place_rows(positions, window(prompt, computed, end), WIDTH, computed)
        assert torch.equal(positions[:, computed:end], prompt.expected[:, computed:end])
        computed = end
    assert torch.equal(positions, prompt.expected)


@pytest.mark.parametrize("seed", range(100))
def test_a_drafters_window_one_token_ahead_is_recognised(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prompt = random_prompt(generator)
    positions, _ = initial_positions(prompt.length, prompt.spans)
    computed = 0
    while computed < prompt.length:
        end = min(computed + 9, prompt.length)
        positions = place_rows(positions, window(prompt, computed, end), WIDTH, computed)
        ahead = place_rows(positions, window(prompt, computed + 1, end + 1), WIDTH, computed)
        assert torch.equal(ahead[:, : end + 1], prompt.expected[:, : end + 1])
        computed = end


def test_text_and_decode_positions_are_final_before_any_row_is_placed() -> None:
    prompt = build([3, (4, 6, torch.tensor([1, 7, 20])), 5, (9, 2, torch.tensor([0, 17])), 2])
    positions, _ = initial_positions(prompt.length, prompt.spans)
    text = [0, 1, 2, 6, 7, 8, 9, 10, 13, 14]
    assert torch.equal(positions[:, text], prompt.expected[:, text])
    assert torch.equal(positions[0], prompt.expected[0])


def test_placing_the_same_rows_twice_changes_nothing() -> None:
    prompt = build([3, (4, 6, torch.tensor([1, 7, 20])), 5])
    once = place_rows(initial_positions(prompt.length, prompt.spans)[0], prompt.rows, WIDTH, 0)
    assert torch.equal(place_rows(once, prompt.rows, WIDTH, 0), once)


def test_a_window_without_reduced_rows_returns_the_same_tensor() -> None:
    prompt = build([3, (4, 6, None), 5])
    positions, _ = initial_positions(prompt.length, prompt.spans)
    assert place_rows(positions, prompt.rows, WIDTH, 0) is positions
    assert torch.equal(positions, prompt.expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_grid_wider_than_256_survives_low_precision(dtype: torch.dtype) -> None:
    prompt = build([2, (1, 700, torch.tensor([0, 256, 257, 511, 699])), 1], dtype)
    positions, _ = initial_positions(prompt.length, prompt.spans)
    assert torch.equal(place_rows(positions, prompt.rows, WIDTH, 0), prompt.expected)


def test_unpacking_gives_back_bit_exact_rows() -> None:
    rows = torch.randn(3, WIDTH).to(torch.bfloat16)
    packed = pack(rows, torch.tensor([0, 2, 5]), 3)
    assert packed.shape == (3, WIDTH + COLUMNS)
    assert torch.equal(unpack([packed, rows], WIDTH)[0], rows)
    assert unpack([packed, rows], WIDTH)[1].data_ptr() == rows.data_ptr()


def test_rows_that_fit_no_image_are_refused_by_name() -> None:
    prompt = build([3, (4, 6, torch.tensor([1, 7, 20])), 5])
    positions, _ = initial_positions(prompt.length, prompt.spans)
    with pytest.raises(RowCountError, match="fit no image"):
        place_rows(positions, [prompt.rows[0].flip(0)], WIDTH, 0)


def test_a_video_keeps_its_upstream_positions_beside_a_reduced_image() -> None:
    kept = torch.tensor([0, 5])
    spans = [MediaSpan(2, 12, (3, 2, 2), frame_step=2.0), MediaSpan(15, 2, (1, 2, 3))]
    rows = [torch.randn(12, WIDTH), pack(torch.randn(2, WIDTH), kept, 3)]
    positions, delta = initial_positions(18, spans)
    placed = place_rows(positions, rows, WIDTH, 0)
    assert placed[0, 2:14].tolist() == [2] * 4 + [4] * 4 + [6] * 4
    assert placed[:, 14].tolist() == [7, 7, 7]
    assert placed[:, 15:17].T.tolist() == [[8, 8, 8], [8, 9, 10]]
    assert placed[:, 17].tolist() == [11, 11, 11]
    assert delta == 12 - 18


# Reduced videos


@dataclass
class Video:
    """A video of some grid; counts and indices of what is kept, None for all; apart: text between its frames."""

    grid: tuple[int, int, int]
    kept: list[Tensor] | None
    step: float = 1.0
    apart: bool = False


def build_mixed(parts: list[int | tuple[int, int, Tensor | None] | Video]) -> tuple[Prompt, Tensor]:
    """As `build`, and which tokens are of a video."""
    columns: list[Tensor] = []
    spans: list[MediaSpan] = []
    rows: list[Tensor] = []
    video: list[bool] = []
    length = position = 0

    def text(count: int) -> None:
        nonlocal length, position
        columns.append((torch.arange(count) + position).expand(3, count))
        video.extend([False] * count)
        length, position = length + count, position + count

    for part in parts:
        if isinstance(part, int):
            text(part)
            continue
        if not isinstance(part, Video):
            part = Video((1, *part[:2]), None if part[2] is None else [part[2]])
            is_video = False
        else:
            is_video = True
        frames, height, width = part.grid
        cells = [torch.arange(height * width)] * frames if part.kept is None else part.kept
        runs = [[number] for number in range(frames)] if part.apart else [list(range(frames))]
        for run in runs:
            if part.apart:
                text(3)
            times = [int((number - run[0]) * part.step) for number in run]
            for time, number in zip(times, run, strict=True):
                own = cells[number]
                columns.append(torch.stack([torch.full_like(own, time), own // width, own % width]) + position)
            count = sum(len(cells[number]) for number in run)
            counts = tuple(len(cells[number]) for number in run) if part.kept and len(run) > 1 else ()
            spans.append(MediaSpan(length, count, (len(run), height, width), part.step, counts))
            video.extend([is_video] * count)
            length, position = length + count, position + max(times[-1] + 1, height, width)
            plain = torch.randn(count, WIDTH).to(torch.bfloat16)
            if part.kept is None:
                rows.append(plain)
            else:
                chosen = [cells[number] for number in run]
                own_rows = plain.split([len(one) for one in chosen])
                rows.append(pack_frames(own_rows, chosen, (len(run), height, width), together=not part.apart))
    return Prompt(length, spans, rows, torch.cat(columns, dim=1), position), torch.tensor(video)


def random_video(number: Callable[[int, int], int], generator: torch.Generator) -> Video:
    grid = number(1, 6), number(1, 6), number(1, 6)
    each = grid[1] * grid[2]
    fewest = min(2, each)
    kept = [torch.randperm(each, generator=generator)[: number(fewest, each + 1)].sort().values for _ in range(grid[0])]
    whole = all(len(own) == each for own in kept) or number(0, 4) == 0
    step = (0.3, 1.0, 2.0, 50.0)[number(0, 4)]
    apart = bool(number(0, 2))
    return Video(grid, None if whole else kept, 1.0 if apart else step, apart)


@pytest.mark.parametrize("seed", range(150))
def test_reduced_videos_beside_pictures_keep_their_places_however_the_prompt_is_cut(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    parts: list[int | tuple[int, int, Tensor | None] | Video] = [number(1, 6)]
    for _ in range(number(1, 5)):
        if number(0, 2):
            parts.append(random_video(number, generator))
        else:
            height, width = number(2, 8), number(2, 8)
            kept = torch.randperm(height * width, generator=generator)[: number(2, height * width)].sort().values
            parts.append((height, width, kept if number(0, 3) else None))
        parts.append(number(1, 6))
    prompt, frames = build_mixed(parts)
    positions, delta = initial_positions(prompt.length, prompt.spans)
    assert prompt.length + delta == prompt.unreduced_end
    assert torch.equal(positions[0], prompt.expected[0])
    computed = 0
    while computed < prompt.length:
        end = min(computed + number(1, 40), prompt.length)
        positions = place_rows(positions, window(prompt, computed, end), WIDTH, computed, frames=frames)
        assert torch.equal(positions[:, computed:end], prompt.expected[:, computed:end])
        ahead = place_rows(positions, window(prompt, computed + 1, end + 1), WIDTH, computed, frames=frames)
        assert torch.equal(ahead[:, : end + 1], prompt.expected[:, : end + 1])
        computed = end
    assert torch.equal(positions, prompt.expected)


def test_text_between_the_frames_of_a_reduced_video_never_moves() -> None:
    video = Video((3, 4, 6), [torch.tensor([1, 7, 20]), torch.tensor([5]), torch.arange(24)], apart=True)
    prompt, frames = build_mixed([2, video, 2])
    positions, _ = initial_positions(prompt.length, prompt.spans)
    assert torch.equal(positions[:, ~frames], prompt.expected[:, ~frames])
    placed = place_rows(positions, prompt.rows, WIDTH, 0, frames=frames)
    assert torch.equal(placed[:, ~frames], prompt.expected[:, ~frames])


def test_a_long_video_has_more_rows_than_a_digit_holds() -> None:
    kept = [torch.arange(0, 600, 2)] * 40
    prompt, frames = build_mixed([2, Video((40, 20, 30), kept, 2.0), 2])
    positions, _ = initial_positions(prompt.length, prompt.spans)
    assert torch.equal(place_rows(positions, prompt.rows, WIDTH, 0, frames=frames), prompt.expected)
