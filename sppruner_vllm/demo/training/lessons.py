"""Batches of scenes with their questions, and the dense targets that go with them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sppruner_vllm.demo.world.content import content
from sppruner_vllm.demo.world.layout import TOKEN, Layout, draw_layout, draw_practice
from sppruner_vllm.demo.world.questions import Asked, askable, askable_of_two, choose
from sppruner_vllm.demo.world.scene import render
from sppruner_vllm.demo.world.vocabulary import FEATURE_INDEX, OBJECTS, SHAPES

from .packing import Packed, pack

CUT_AWAY: Final = 0.4
"""Share of the sequences whose pictures miss some of their background."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch.

    grid: visual tokens along the side of every picture. scenes: per sequence, its one or two layouts.
    shown: (B * pictures, N, features) float32, what each token shows. packed: the questions.
    anchor: (B * pictures, N, 2) int64, for a token of a shape that stands right of (first) or below (second) another:
        that one's index in SHAPES; len(SHAPES) on other shapes; -100 elsewhere.
    absent: (B * pictures, N) bool, tokens of mere background that the language model does not get to see.
    pictures: (B * pictures, 3, S, S) uint8, None where nothing was drawn.
    """

    grid: int
    scenes: tuple[tuple[Layout, ...], ...]
    shown: Tensor
    packed: Packed
    anchor: Tensor
    absent: Tensor
    pictures: Tensor | None


def lesson(
    dice: random.Random,
    batch: int,
    size: int,
    *,
    pictures: int,
    questions: int,
    grid: int | None = None,
    drawn: bool = True,
) -> Lesson:
    """A new batch of scenes of one size.

    Args:
        size: pixels along a scene's side. pictures: 1 or 2 per sequence. questions: most per sequence.
        grid: visual tokens along a picture's side; None shows the scene as it is, a smaller one shrinks the picture.
        drawn: False leaves the pictures out.
    """
    scenes = tuple(
        tuple(draw_layout(dice.randrange(2**62), size, dice.uniform(0.8, 2.0)) for _ in range(pictures))
        for _ in range(batch)
    )
    asked = [_ask(scene, questions, dice) for scene in scenes]
    return _prepare(scenes, asked, grid or size // TOKEN, dice, drawn=drawn)


def practice(dice: random.Random, batch: int, size: int, grid: int) -> Lesson:
    """A new batch of crammed pictures, shrunk to a grid; their question is a stand-in: only seeing is taught."""
    scenes = tuple((draw_practice(dice.randrange(2**62), size),) for _ in range(batch))
    return _prepare(scenes, [[Asked("reading", "What is it?", "a")]] * batch, grid, dice, drawn=True)


def _prepare(
    scenes: tuple[tuple[Layout, ...], ...],
    asked: Sequence[Sequence[Asked]],
    grid: int,
    dice: random.Random,
    *,
    drawn: bool,
) -> Lesson:
    flat = [layout for scene in scenes for layout in scene]
    canvas = [_draw(layout, grid) for layout in flat] if drawn else []
    contents = [content(layout, grid, canvas[index] if drawn else None) for index, layout in enumerate(flat)]
    shown = torch.from_numpy(np.stack(contents)).flatten(1, 2)
    pictures = torch.from_numpy(np.stack(canvas)).permute(0, 3, 1, 2) if drawn else None
    packed = pack(asked, grid, len(scenes[0]))
    absent = torch.cat([_cut_away(part, dice) for part in shown.split(len(scenes[0]))])
    return Lesson(grid, scenes, shown, packed, _anchors(flat, shown, grid), absent, pictures)


def _cut_away(shown: Tensor, dice: random.Random) -> Tensor:
    """Background that is left out of a sequence: none of it in most, a random share in the others.

    Without such lessons the model learns to count things by comparing them with the number of background tokens.
    """
    share = dice.uniform(0, 0.95) if dice.random() < CUT_AWAY else 0.0
    bare = shown[..., : len(OBJECTS) - 1].amax(-1) < 0.1
    return bare & (torch.rand(bare.shape) < share)


def _draw(layout: Layout, grid: int) -> np.ndarray:
    picture = render(layout)
    if grid * TOKEN != layout.size:
        picture = picture.resize((grid * TOKEN, grid * TOKEN), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _ask(scene: Sequence[Layout], number: int, dice: random.Random) -> list[Asked]:
    if len(scene) == 1:
        return choose(askable(scene[0]), number, dice)
    return choose({"compare": askable_of_two(scene[0], scene[1])}, number, dice)


def _anchors(layouts: Sequence[Layout], shown: Tensor, grid: int) -> Tensor:
    shapes = shown[:, :, : len(SHAPES)].amax(-1) > 0.5
    anchor = torch.where(shapes, len(SHAPES), -100).view(-1, grid, grid, 1).repeat(1, 1, 1, 2)
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
