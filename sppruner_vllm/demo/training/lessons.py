"""Batches of scenes with their questions, and the dense targets that go with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sppruner_vllm.demo.vocabulary import FEATURE_INDEX, SHAPES
from sppruner_vllm.demo.world.content import content
from sppruner_vllm.demo.world.layout import TOKEN, Layout, draw_layout, draw_practice
from sppruner_vllm.demo.world.questions import Asked, askable, askable_of_two, choose
from sppruner_vllm.demo.world.scene import render
from sppruner_vllm.demo.world.sheets import KINDS, draw_sheet

from .cutting import Cut, cut, whole
from .packing import IGNORED, Packed, pack

CUT_AWAY: Final = 0.6
"""Share of the sequences whose pictures miss some of their tokens, as a rule."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch.

    grid: visual tokens along the side of every picture. scenes: per sequence, its one or two layouts.
    shown: (B * pictures, N, features) float32, what each token shows. packed: the questions.
    anchor: (B * pictures, N, 2) int64, for a token of a shape that stands right of (first) or below (second) another:
        that one's index in SHAPES; len(SHAPES) on other shapes; -100 elsewhere.
    absent: (B * pictures, N) bool, tokens that the language model does not get to see (cutting.py).
    pictures: (B * pictures, 3, S, S) uint8, None where nothing was drawn.
    """

    grid: int
    scenes: tuple[tuple[Layout, ...], ...]
    shown: Tensor
    packed: Packed
    anchor: Tensor
    absent: Tensor
    pictures: Tensor | None


def ask(scene: Sequence[Layout], number: int, dice: random.Random) -> list[Asked]:
    """Up to `number` questions about one picture, or about the two of a pair."""
    if len(scene) == 1:
        return choose(askable(scene[0]), number, dice)
    return choose({"compare": askable_of_two(scene[0], scene[1])}, number, dice)


def lesson(
    dice: random.Random,
    batch: int,
    size: int,
    *,
    pictures: int,
    questions: int,
    grid: int | None = None,
    drawn: bool = True,
    cut_away: float = CUT_AWAY,
    asking: Callable[[Sequence[Layout], int, random.Random], list[Asked]] = ask,
) -> Lesson:
    """A new batch of scenes of one size, with a question about one of them at least.

    Args:
        size: pixels along a scene's side. pictures: 1 or 2 per sequence. questions: most per sequence.
        grid: visual tokens along a picture's side; None shows the scene as it is, a smaller one shrinks the picture.
        drawn: False leaves the pictures out.
        cut_away: share of the sequences whose pictures miss some of their tokens.
        asking: draws the questions about what is left of a scene.
    """
    grid = grid or size // TOKEN
    while True:
        scenes = tuple(
            tuple(draw_layout(dice.randrange(2**62), size, dice.uniform(0.8, 3.5)) for _ in range(pictures))
            for _ in range(batch)
        )
        cuts = [cut(scene, grid, dice) if dice.random() < cut_away else whole(scene, grid) for scene in scenes]
        asked = [asking(each.left, questions, dice) for each in cuts]
        if any(asked):  # of one small scene so much may be cut away that nothing is left to ask
            return _prepare(scenes, cuts, asked, grid, drawn=drawn)


def practice(dice: random.Random, batch: int, size: int, grid: int) -> Lesson:
    """A new batch of crammed pictures, shrunk to a grid; their question is a stand-in: only seeing is taught."""
    scenes = tuple((draw_practice(dice.randrange(2**62), size),) for _ in range(batch))
    cuts = [whole(scene, grid) for scene in scenes]
    return _prepare(scenes, cuts, [[Asked("reading", "What is it?", "a")]] * batch, grid, drawn=True)


def sheets(dice: random.Random, batch: int, size: int, questions: int) -> Lesson:
    """A new batch of pages, tables and charts, whole."""
    drawn = [draw_sheet(dice.choice(KINDS), dice.randrange(2**62), size) for _ in range(batch)]
    scenes = tuple((sheet.layout,) for sheet in drawn)
    asked = [dice.sample(sheet.asked, min(questions, len(sheet.asked))) for sheet in drawn]
    grid = size // TOKEN
    return _prepare(scenes, [whole(scene, grid) for scene in scenes], asked, grid, drawn=True)


def _prepare(
    scenes: tuple[tuple[Layout, ...], ...],
    cuts: Sequence[Cut],
    asked: Sequence[Sequence[Asked]],
    grid: int,
    *,
    drawn: bool,
) -> Lesson:
    flat = [layout for scene in scenes for layout in scene]
    canvas = [_draw(layout, grid) for layout in flat] if drawn else []
    contents = [content(layout, grid, canvas[index] if drawn else None) for index, layout in enumerate(flat)]
    shown = torch.from_numpy(np.stack(contents)).flatten(1, 2)
    pictures = torch.from_numpy(np.stack(canvas)).permute(0, 3, 1, 2) if drawn else None
    packed = pack(asked, grid, len(scenes[0]))
    absent = torch.from_numpy(np.concatenate([each.absent for each in cuts])).flatten(1)
    anchor = _anchors([layout for each in cuts for layout in each.left], shown, grid)
    anchor = anchor.masked_fill(absent.unsqueeze(-1), IGNORED)
    return Lesson(grid, scenes, shown, packed, anchor, absent, pictures)


def _draw(layout: Layout, grid: int) -> np.ndarray:
    picture = render(layout)
    if grid * TOKEN != layout.size:
        picture = picture.resize((grid * TOKEN, grid * TOKEN), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _anchors(layouts: Sequence[Layout], shown: Tensor, grid: int) -> Tensor:
    shapes = shown[:, :, : len(SHAPES)].amax(-1) > 0.5
    anchor = torch.where(shapes, len(SHAPES), IGNORED).view(-1, grid, grid, 1).repeat(1, 1, 1, 2)
    for picture, layout in enumerate(layouts):
        side = layout.size / grid
        for first, second, where in layout.pairs:
            left, top, width, height = layout.items[second].box
            rows = slice(int(top / side), int((top + height - 1) / side) + 1)
            columns = slice(int(left / side), int((left + width - 1) / side) + 1)
            own = shown.view(-1, grid, grid, len(FEATURE_INDEX))[picture, rows, columns]
            ours = own[..., FEATURE_INDEX[layout.items[second].name]] > 0.5
            window = anchor[picture, rows, columns, int(where == "below")]
            window[ours] = SHAPES.index(layout.items[first].name)
    return anchor.flatten(1, 2)
