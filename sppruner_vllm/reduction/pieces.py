"""Images whose rows are several grids: a view of the whole and its tiles, with rows between them that are no picture.

A method knows one grid. Each piece is selected from by itself, with its part of the image's budget, and the selections
are put together again. Rows that end a line of a piece are no part of the picture: they are kept by a rule of their
own, before the budget is shared. docs/develop/algorithm.md, "Pieces".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .core.types import ImageTokens, Selection

if TYPE_CHECKING:
    from torch import Tensor

LINE_ENDS_SHARE: Final = 0.25
"""Most of a budget that goes to the ends of lines: where there are more, as many stay, evenly spread."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One grid among the rows of an image.

    start: its first row. grid: (height, width) in visual tokens.
    line_ends: whether behind each of its lines stands one more row, which ends the line.
    """

    start: int
    grid: tuple[int, int]
    line_ends: bool = False

    @property
    def tokens(self) -> int:
        """Visual tokens, without the ends of lines."""
        return self.grid[0] * self.grid[1]

    @property
    def ends(self) -> list[int]:
        """Rows of the image that end its lines."""
        height, width = self.grid
        return [self.start + line * (width + 1) + width for line in range(height)] if self.line_ends else []

    def of(self, values: Tensor) -> Tensor:
        """What belongs to its visual tokens, (h * w, ...), of the values of all rows of the image, (N, ...)."""
        height, width = self.grid
        if not self.line_ends:
            return values[self.start : self.start + height * width]
        lines = values[self.start : self.start + height * (width + 1)].unflatten(0, (height, width + 1))
        tokens: Tensor = lines[:, :width].flatten(0, 1)
        return tokens

    def rows(self, tokens: Tensor) -> Tensor:
        """Rows of the image that these of its visual tokens are."""
        if not self.line_ends:
            return tokens + self.start
        return tokens + self.start + tokens // self.grid[1]


def staying_ends(pieces: Sequence[Piece], budget: int) -> list[int]:
    """Rows that end lines and are kept, ascending: all, or as many as their share of the budget allows.

    More stay where the visual tokens are fewer than the rest of the budget.

    Args:
        budget: rows that the image keeps, at least 1 and at most all of them.
    """
    ends = [row for piece in pieces for row in piece.ends]
    tokens = sum(piece.tokens for piece in pieces)
    stay = max(min(len(ends), int(budget * LINE_ENDS_SHARE)), budget - tokens)
    return [ends[(2 * place + 1) * len(ends) // (2 * stay)] for place in range(stay)]


def piece_budgets(sizes: Sequence[int], budget: int) -> list[int]:
    """Tokens that each piece keeps, `budget` together: by size, one at least where there are enough for all.

    Args:
        sizes: tokens of each piece. budget: at most their sum.
    """
    if budget <= len(sizes):
        return [int(place < budget) for place in range(len(sizes))]
    total = sum(sizes)
    parts = [max(1, size * budget // total) for size in sizes]
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

    images: what a method selects from. pieces: which each is. ends: rows that end lines and stay.
    """

    whole: ImageTokens
    images: tuple[ImageTokens, ...]
    pieces: tuple[Piece, ...]
    ends: tuple[int, ...]


def parted(image: ImageTokens, pieces: Sequence[Piece]) -> Parted:
    """Share an image's budget over its pieces.

    Args:
        image: its grid counts for nothing.
        pieces: which have all of its rows, with the ends of their lines.

    Raises:
        ValueError: they have other rows.
    """
    if sum(piece.tokens + len(piece.ends) for piece in pieces) != len(image.rows):
        raise ValueError(f"{len(image.rows)} rows are not those of {pieces}")
    ends = staying_ends(pieces, image.budget)
    budgets = piece_budgets([piece.tokens for piece in pieces], image.budget - len(ends))
    kept = [(piece, budget) for piece, budget in zip(pieces, budgets, strict=True) if budget]
    images = [
        replace(
            image,
            rows=piece.of(image.rows),
            grid=piece.grid,
            budget=budget,
            attention=None if image.attention is None else piece.of(image.attention),
            merger_input=None if image.merger_input is None else piece.of(image.merger_input),
        )
        for piece, budget in kept
    ]
    return Parted(image, tuple(images), tuple(piece for piece, _ in kept), tuple(ends))


def joined(image: Parted, selections: Sequence[Selection]) -> Selection:
    """The selection of a whole image, of one of each of its pieces.

    Scores of pieces do not compare: kept rows score 1, the others 0.
    """
    import torch  # Late, so that the names of the methods are to be had without torch.

    rows = image.whole.rows
    size, device = len(rows), rows.device
    ends = torch.tensor(image.ends, dtype=torch.int64, device=device)
    chosen = [piece.rows(one.kept) for piece, one in zip(image.pieces, selections, strict=True)]
    kept, order = torch.cat([*chosen, ends]).sort()
    focus = torch.cat([*(one.is_focus for one in selections), torch.zeros_like(ends, dtype=torch.bool)])
    saliency = torch.zeros(size, dtype=torch.float32, device=device)
    relevance = torch.zeros_like(saliency)
    asked = False
    for piece, one in zip(image.pieces, selections, strict=True):
        places = piece.rows(torch.arange(piece.tokens, device=device))
        saliency[places] = one.saliency
        if one.relevance is not None:
            asked = True
            relevance[places] = one.relevance
    scores = torch.zeros_like(saliency).index_fill_(0, kept, 1.0)
    return Selection(kept, focus.index_select(0, order), saliency, relevance if asked else None, scores)
