"""A scene: a layout drawn on its background."""

from __future__ import annotations

from PIL import Image

from .backgrounds import background
from .layout import Layout
from .sprites import draw


def render(layout: Layout, *, held_out: bool = False) -> Image.Image:
    """The picture of a layout, RGB.

    Args:
        held_out: use the handwritten digits that training never shows.
    """
    picture = background(layout.seed, layout.size)
    for item in sorted(layout.items, key=lambda item: item.kind != "clutter"):
        sprite = draw(item, held_out=held_out)
        picture.paste(sprite, item.box[:2], sprite)
    return picture
