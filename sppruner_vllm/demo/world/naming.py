"""What a visual token of the demo's scenes may be called, and scenes and texts to look for the names in."""

from __future__ import annotations

import random
from typing import Final

from PIL import Image

from sppruner_vllm.demo.vocabulary import CLUTTER, FEATURES, LIGHT, PLURALS, SHAPES

from .content import content
from .layout import TOKEN, Layout, draw_layout
from .scene import render
from .telling import tell

_SIZE: Final = 448
_CROWD: Final = (1.5, 3.5)
_CLEAR: Final = 0.9
"""Least strength with which a token shows a thing that it is to be named after; 1 is a third of a token."""


def scene(seed: int, index: int) -> tuple[Image.Image, Layout]:
    """A held-out picture of 448 x 448 pixels and what is on it."""
    dice = random.Random(f"naming:{seed}:{index}")  # noqa: S311 (a game of dice, not a secret)
    layout = draw_layout(dice.randrange(2**62), _SIZE, dice.uniform(*_CROWD))
    return render(layout, held_out=True, other_photos=True), layout


def telling(seed: int, index: int) -> str:
    """A text that describes some other scene."""
    dice = random.Random(f"telling:{seed}:{index}")  # noqa: S311 (a game of dice, not a secret)
    return tell([draw_layout(dice.randrange(2**62), _SIZE, dice.uniform(*_CROWD))], dice)


def names_of(layout: Layout) -> dict[int, frozenset[str]]:
    """The words that would describe each visual token that clearly shows a thing, by its place in raster order."""
    shown = content(layout, layout.size // TOKEN).reshape(-1, len(FEATURES))
    unnamed = {*CLUTTER, *LIGHT, "centre", "nothing"}
    found = {}
    for place, strengths in enumerate(shown):
        known = {
            word
            for feature, strength in zip(FEATURES, strengths, strict=True)
            if strength > _CLEAR and feature not in unnamed
            for word in _words(feature)
        }
        if known:
            found[place] = frozenset(known)
    return found


def _words(feature: str) -> tuple[str, ...]:

    if feature in SHAPES:
        return feature, PLURALS[SHAPES.index(feature)]
    return (feature.split()[-1],)
