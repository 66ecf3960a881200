"""Images whose rows are several grids: a view of the whole and its tiles, with rows between them that are no picture.

A method knows one grid. Each piece is selected from by itself, with its part of the image's budget, and the selections
are put together again. Rows that end a line of a piece are no part of the picture: they are kept by a rule of their
own, before the budget is shared. docs/develop/algorithm.md, "Pieces".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .core.types import ImageTokens, Selection

if TYPE_CHECKING:
    from torch import Tensor

Place = TypeVar("Place", int, "Tensor")

LINE_ENDS_SHARE: Final = 0.25
"""Most of a budget that goes to the ends of lines: where there are more, as many stay, evenly spread."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One grid among the rows of an image.

    start: its first row. grid: (height, width) in visual tokens.
    line_ends: whether behind each of its lines stands one more row, which ends the line.
    tile: (height, width) of the tiles that its rows come in, one after the other; None where they come line by line.
    """

    start: int
    grid: tuple[int, int]
    line_ends: bool = False
    tile: tuple[int, int] | None = None

    @property
    def tokens(self) -> int:
        """Visual tokens, without the ends of lines."""
        return self.grid[0] * self.grid[1]

    @property
    def ends(self) -> int:
        """Rows that end its lines."""
        return self.grid[0] if self.line_ends else 0

    def row(self, token: Place) -> Place:
        """The row of the image that one of its visual tokens is, or each of many; they are counted line by line."""
        if self.tile is None:
            return self.start + token + token // self.grid[1] if self.line_ends else self.start + token
        (height, width), across = self.tile, self.grid[1] // self.tile[1]
        line, column = token // self.grid[1], token % self.grid[1]
        before = (line // height) * across + column // width
        return self.start + before * (height * width) + line % height * width + column % width

    def end(self, line: Place) -> Place:
        """The row of the image that ends one of its lines, or each of many."""
        return self.start + self.grid[1] + line * (self.grid[1] + 1)


def staying_ends(pieces: Sequence[Piece], budget: int) -> int:
    """How many rows that end lines are kept: all, or as many as their share of the budget allows.

    More stay where the visual tokens are fewer than the rest of the budget.

    Args:
        budget: rows that the image keeps, at least 1 and at most all of them.
    """
    tokens, ends = sum(piece.tokens for piece in pieces), sum(piece.ends for piece in pieces)
    return max(min(ends, int(budget * LINE_ENDS_SHARE)), budget - tokens)


def piece_budgets(sizes: Sequence[int], budget: int) -> list[int]:
    """Tokens that each piece keeps, `budget` together: by size, one at least where there are enough for all.

    Args:
        sizes: tokens of each piece; a mosaic may be all padding, and have none. budget: at most their sum.
    """
    shown = [place for place, size in enumerate(sizes) if size]
    if budget <= len(shown):
        return [int(place in shown[:budget]) for place in range(len(sizes))]
    total = sum(sizes)
    parts = [max(min(1, size), size * budget // total) for size in sizes]
    # Pieces that were lifted to one token may have taken too many: the largest give them back.
    while sum(parts) > budget:
        parts[max(range(len(parts)), key=lambda place: parts[place])] -= 1
    order = sorted(range(len(sizes)), key=lambda place: parts[place] - sizes[place] * budget / total)
    while (left := budget - sum(parts)) > 0:
        open_ones = [place for place in order if parts[place] < sizes[place]]
        for place in open_ones[:left]:
            parts[place] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Parted:
    """An image as its pieces, those without any budget left out.

    images: what a method selects from. rows: (n,) int64 of each, the rows of the whole image that its tokens are.
    ends: int64, rows that end lines and stay.
    """

    whole: ImageTokens
    images: tuple[ImageTokens, ...]
    rows: tuple[Tensor, ...]
    ends: Tensor


def parted(image: ImageTokens, pieces: Sequence[Piece]) -> Parted:
    """Share an image's budget over its pieces.

    Args:
        image: its grid counts for nothing.
        pieces: which have all of its rows, with the ends of their lines.

    Raises:
        ValueError: they have other rows.
    """
    if sum(piece.tokens + piece.ends for piece in pieces) != len(image.rows):
        raise ValueError(f"{len(image.rows)} rows are not those of {pieces}")
    stay = staying_ends(pieces, image.budget)
    budgets = piece_budgets([piece.tokens for piece in pieces], image.budget - stay)
    kept = [(piece, budget) for piece, budget in zip(pieces, budgets, strict=True) if budget]
    rows = tuple(piece.row(_count(piece.tokens, image.rows.device)) for piece, _ in kept)
    images = tuple(
        replace(
            image,
            rows=image.rows.index_select(0, own),
            grid=piece.grid,
            budget=budget,
            attention=None if image.attention is None else image.attention.index_select(0, own),
            merger_input=None if image.merger_input is None else image.merger_input.index_select(0, own),
        )
        for (piece, budget), own in zip(kept, rows, strict=True)
    )
    return Parted(image, images, rows, _evenly(pieces, stay, image.rows.device))


def _evenly(pieces: Sequence[Piece], stay: int, device: Any) -> Tensor:
    """So many of the rows that end lines, ascending."""
    import torch  # Late, so that the names of the methods are to be had without torch.

    ends = torch.cat([piece.end(_count(piece.ends, device)) for piece in pieces])
    return ends.index_select(0, (2 * _count(stay, device) + 1) * len(ends) // max(1, 2 * stay))


def _count(upto: int, device: Any) -> Tensor:
    """Numbers from 0, made on the device: what comes from the host would be waited for."""
    import torch

    return torch.arange(upto, device=device)


def joined(image: Parted, selections: Sequence[Selection]) -> Selection:
    """The selection of a whole image, of one of each of its pieces.

    Scores of pieces do not compare: kept rows score 1, the others 0.
    """
    import torch

    chosen = [own.index_select(0, one.kept) for own, one in zip(image.rows, selections, strict=True)]
    kept, order = torch.cat([*chosen, image.ends]).sort()
    focus = torch.cat([*(one.is_focus for one in selections), torch.zeros_like(image.ends, dtype=torch.bool)])
    nothing = torch.zeros(len(image.whole.rows), dtype=torch.float32, device=kept.device)
    saliency, relevance, asked = nothing.clone(), nothing.clone(), False
    for own, one in zip(image.rows, selections, strict=True):
        saliency.index_copy_(0, own, one.saliency)
        if one.relevance is not None:
            asked = True
            relevance.index_copy_(0, own, one.relevance)
    scores = nothing.index_fill_(0, kept, 1.0)
    return Selection(kept, focus.index_select(0, order), saliency, relevance if asked else None, scores)
